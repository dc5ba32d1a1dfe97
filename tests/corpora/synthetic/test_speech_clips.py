"""Tests of every subset with a fake synthesiser, whose words are tones of known length."""

from collections import Counter

import numpy as np
import pytest

from audio_lm.common.rng import random_for
from audio_lm.corpora.synthetic.speech_clips import PLANNERS, phrases_new
from audio_lm.corpora.synthetic.speech_phrases import NEW_PHRASES, PHRASES
from audio_lm.corpora.synthetic.speech_synthesis import Spoken, tokens_of
from audio_lm.corpora.synthetic.voices import VOICES
from audio_lm.tasks.labels import LABELS

SECONDS_PER_WORD = 0.25


def fake_speech(sentence):
    """Speech with a quarter of a second per word."""
    tokens = tokens_of(sentence.text)
    words = [(at, SECONDS_PER_WORD * k, SECONDS_PER_WORD * (k + 1)) for k, (at, _) in enumerate(tokens)]
    wave = np.sin(np.arange(int(16_000 * SECONDS_PER_WORD * len(tokens)))).astype(np.float32)
    return Spoken(sentence.text, wave, words)


def make_clips(subset, split, count=40):
    plans = [PLANNERS[subset](split, random_for(0, subset, split, index)) for index in range(count)]
    return [(plan, plan.clip_of([fake_speech(sentence) for sentence in plan.sentences])) for plan in plans]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("subset", list(PLANNERS))
def test_every_clip_has_known_labels_with_their_honesty(subset, split):
    for _, clip in make_clips(subset, split, count=8):
        assert clip.labels.keys() <= LABELS.keys()
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
def test_every_split_uses_its_own_voices_only(subset):
    for split, voices in VOICES.items():
        names = {voice.name for voice in voices}
        voices_used = {
            sentence.voice.split("+")[1]
            for plan, _ in make_clips(subset, split)
            for sentence in plan.sentences
        }
        assert voices_used <= names, split


def test_word_times_include_the_leading_silence():
    for _, clip in make_clips("digits", "test"):
        first = np.flatnonzero(abs(clip.wave) > 0)[0] / 16_000
        assert clip.units[0][1] == pytest.approx(first, abs=1e-3)
        assert [word for word, _, _ in clip.units] == clip.labels["text"].split()


def test_clips_with_merged_words_are_dropped_if_times_are_needed():
    for subset in ("digits", "mandarin"):
        plan = PLANNERS[subset]("train", random_for(1))
        assert plan.clip_of([Spoken(plan.sentences[0].text, np.ones(4_000, np.float32), [])]) is None, subset


def test_a_translation_is_of_the_same_phrase_in_another_language():
    for _, clip in make_clips("phrases", "train"):
        language, target = clip.labels["language"], clip.labels["target_language"]
        assert language != target
        (phrase,) = [phrase for phrase in PHRASES if phrase[language] == clip.labels["text"]]
        assert phrase[target] == clip.labels["translation"]


def test_new_phrases_are_in_no_training_split():
    new = {text for phrase in NEW_PHRASES for text in phrase.values()}
    for split in VOICES:
        assert not new & {clip.labels["text"] for _, clip in make_clips("phrases", split)}, split
    assert {phrases_new("test", random_for(k)).sentences[0].text for k in range(30)} <= new


def test_a_word_that_is_no_command_has_the_keyword_none():
    keywords = Counter()
    for _, clip in make_clips("commands", "train", count=300):
        keywords[clip.labels["keyword"]] += 1
        assert clip.labels["keyword"] in (clip.labels["text"], "none")
    assert len(keywords) == 11
    assert 0.1 < keywords["none"] / 300 < 0.25


def test_overlapping_texts_are_ordered_by_start():
    for plan, clip in make_clips("overlaps", "test"):
        assert clip.labels["texts"] == [sentence.text for sentence in plan.sentences]
        both = sum(SECONDS_PER_WORD * len(text.split()) for text in clip.labels["texts"])
        assert len(clip.wave) / 16_000 < both + 0.5, "they do not overlap"


def test_pairs_are_labelled_by_equality_of_voices():
    answers = Counter()
    for plan, clip in make_clips("pairs", "train", count=200):
        first, second = (sentence.voice for sentence in plan.sentences)
        assert clip.labels["same_speaker"] == ("yes" if first == second else "no")
        assert len(clip.more_waves) == 1
        answers[clip.labels["same_speaker"]] += 1
    assert 70 < answers["yes"] < 130


def test_turns_of_a_meeting_do_not_overlap_and_cover_all_sound():
    for plan, clip in make_clips("meetings", "validation"):
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
