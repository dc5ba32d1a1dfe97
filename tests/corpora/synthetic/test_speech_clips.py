"""Every subset with a stand-in for the synthesiser: tones of known length, one word after the other."""

from collections import Counter

import numpy as np
import pytest

from audio_lm.common.runtime import random_for
from audio_lm.corpora.labels import LABELS
from audio_lm.corpora.synthetic.speech_clips import PLANNERS, phrases_new
from audio_lm.corpora.synthetic.speech_phrases import NEW_PHRASES, PHRASES
from audio_lm.corpora.synthetic.speech_synthesis import Spoken, tokens_of
from audio_lm.corpora.synthetic.voices import VOICES

SECONDS_PER_WORD = 0.25


def said(sentence):
    """All words, a quarter of a second each."""
    tokens = tokens_of(sentence.text)
    words = [(at, SECONDS_PER_WORD * k, SECONDS_PER_WORD * (k + 1)) for k, (at, _) in enumerate(tokens)]
    wave = np.sin(np.arange(int(16_000 * SECONDS_PER_WORD * len(tokens)))).astype(np.float32)
    return Spoken(sentence.text, wave, words)


def planned(subset, split, count=40):
    plans = [PLANNERS[subset](split, random_for(0, subset, split, index)) for index in range(count)]
    return [(plan, plan.clip_of([said(sentence) for sentence in plan.sentences])) for plan in plans]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("subset", list(PLANNERS))
def test_every_clip_has_known_labels_and_says_how_true_they_are(subset, split):
    for _, clip in planned(subset, split, count=8):
        assert clip.labels.keys() <= LABELS
        honesty = clip.labels["honesty"]
        assert honesty.keys() - {"units"} == clip.labels.keys() - {"honesty", "speaker"}
        assert set(honesty.values()) <= {"exact", "declared", "proxy"}
        for label, honest in {
            "gender": "declared",
            "age": "declared",
            "dialect": "declared",
            "emotion": "proxy",
        }.items():
            assert honesty.get(label, honest) == honest


@pytest.mark.parametrize("subset", [name for name in PLANNERS if name != "ages"])
def test_a_split_is_spoken_by_its_own_voices(subset):
    for split, voices in VOICES.items():
        names = {voice.name for voice in voices}
        heard = {
            sentence.voice.split("+")[1] for plan, _ in planned(subset, split) for sentence in plan.sentences
        }
        assert heard <= names, split


def test_words_are_shifted_by_the_silence_before_them():
    for _, clip in planned("digits", "test"):
        first = np.flatnonzero(abs(clip.wave) > 0)[0] / 16_000
        assert clip.units[0][1] == pytest.approx(first, abs=1e-3)
        assert [word for word, _, _ in clip.units] == clip.labels["text"].split()


def test_merged_words_are_refused_where_times_are_needed():
    for subset in ("digits", "mandarin"):
        plan = PLANNERS[subset]("train", random_for(1))
        assert plan.clip_of([Spoken(plan.sentences[0].text, np.ones(4_000, np.float32), [])]) is None, subset


def test_a_translation_belongs_to_its_phrase_and_is_in_another_language():
    for _, clip in planned("phrases", "train"):
        language, target = clip.labels["language"], clip.labels["target_language"]
        assert language != target
        (phrase,) = [phrase for phrase in PHRASES if phrase[language] == clip.labels["text"]]
        assert phrase[target] == clip.labels["translation"]


def test_new_phrases_are_never_said_in_training():
    new = {text for phrase in NEW_PHRASES for text in phrase.values()}
    for split in VOICES:
        assert not new & {clip.labels["text"] for _, clip in planned("phrases", split)}, split
    assert {phrases_new("test", random_for(k)).sentences[0].text for k in range(30)} <= new


def test_a_word_that_is_no_command_is_called_none():
    keywords = Counter()
    for _, clip in planned("commands", "train", count=300):
        keywords[clip.labels["keyword"]] += 1
        assert clip.labels["keyword"] in (clip.labels["text"], "none")
    assert len(keywords) == 11
    assert 0.1 < keywords["none"] / 300 < 0.25


def test_overlapping_texts_stand_in_the_order_in_which_they_begin():
    for plan, clip in planned("overlaps", "test"):
        assert clip.labels["texts"] == [sentence.text for sentence in plan.sentences]
        both = sum(SECONDS_PER_WORD * len(text.split()) for text in clip.labels["texts"])
        assert len(clip.wave) / 16_000 < both + 0.5, "they do not overlap"


def test_pairs_say_whether_the_voices_are_one():
    answers = Counter()
    for plan, clip in planned("pairs", "train", count=200):
        first, second = (sentence.voice for sentence in plan.sentences)
        assert clip.labels["same_speaker"] == ("yes" if first == second else "no")
        assert len(clip.more_waves) == 1
        answers[clip.labels["same_speaker"]] += 1
    assert 70 < answers["yes"] < 130


def test_turns_of_a_meeting_follow_each_other_where_there_is_sound():
    for plan, clip in planned("meetings", "validation"):
        turns = clip.labels["turns"]
        voice_of = {
            name: sentence.voice for (name, _, _), sentence in zip(turns, plan.sentences, strict=True)
        }
        assert len(set(voice_of.values())) == len(voice_of) >= 2, "two speakers share a voice"
        assert turns[0][0] == "speaker 1"
        is_turn = np.zeros(len(clip.wave), dtype=bool)
        for _, start, end in turns:
            assert not is_turn[round(start * 16_000) : round(end * 16_000)].any()
            is_turn[round(start * 16_000) - 2 : round(end * 16_000) + 2] = True
        assert not clip.wave[~is_turn].any()
        assert abs(clip.wave[is_turn]).mean() > 0.05
