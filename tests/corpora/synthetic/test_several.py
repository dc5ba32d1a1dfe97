from collections import Counter
from itertools import groupby

import pytest

from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.comparisons import COMPARISONS, WHICH_AUDIO
from audio_lm.corpora.synthetic.known_clips import SYNTHETIC
from audio_lm.corpora.synthetic.questions import QUESTIONS
from audio_lm.corpora.synthetic.several import BETWEEN, FIRST, WHICH, write_several
from tests.corpora.synthetic.noise_clips import (
    all_texts,
    clips_by_wave,
    conversation_of,
    exchanges_of,
    make_writer,
    waves_of,
)

CLIPS = {"several": 300, "validation": 40, "test": 80}


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    writer = make_writer(tmp_path_factory.mktemp("several"))
    write_several(writer, clips=CLIPS, seed=1)
    return writer


def values_in(question, wordings, **placeholders):
    """Values of the placeholders of the wording that a question has, by trial of all values."""
    for text in all_texts(wordings):
        for name, options in placeholders.items():
            for option in options:
                if question == text.format(**{name: option}):
                    yield option


def unambiguous(clips, name, answer):
    return [number for number, clip in clips.items() if name in clip.answers and answer in clip.answers[name]]


def expected_answer(question, clips):
    """Answer that follows from the labels of the clips alone."""
    for number in (1, 2, 3):
        for text in all_texts(WHICH_AUDIO):
            before, after = text.format(number=number, question="|").split("|")
            if question.startswith(before) and question.endswith(after):
                words = question.removeprefix(before)
                (name,) = (known.name for known in QUESTIONS if words in all_texts(known.wordings))
                return clips[number].answers[name]
    things = {
        thing.format(answer=answer): (name, answer)
        for name, thing in SYNTHETIC.things.items()
        for clip in clips.values()
        if (answer := clip.answers.get(name))
    }
    for thing in values_in(question, WHICH, thing=things):
        (number,) = unambiguous(clips, *things[thing])
        return f"audio {number}"
    for thing in things:
        for other in things:
            if question in {text.format(thing=thing, other=other) for text in all_texts(FIRST)}:
                (first,), (second,) = (unambiguous(clips, *things[each]) for each in (thing, other))
                return (thing if first < second else other).removeprefix("the ")
    return expected_comparison(question, clips)


def expected_comparison(question, clips):
    for first in clips:
        for second in clips:
            for text in all_texts(BETWEEN):
                before, _ = text.format(first=first, second=second, question="|").split("|")
                if question.startswith(before):
                    words = question.removeprefix(before)
                    (known,) = (each for each in COMPARISONS if words in all_texts(each.wordings))
                    answer = known.answer(*(clips[n].answers[known.question] for n in (first, second)))
                    return {"audio 1": f"audio {first}", "audio 2": f"audio {second}"}.get(answer, answer)
    raise AssertionError(question)


@pytest.mark.parametrize("split", SPLITS)
def test_the_last_answer_follows_from_the_labels_of_the_clips(writer, split):
    known = clips_by_wave(writer, split)
    for cut in writer.cuts(f"several-{split}"):
        clips = {number: known[wave.tobytes()] for number, wave in waves_of(cut).items()}
        *_, (question, answer, numbers) = exchanges_of(cut)
        assert sorted(clips) == list(numbers)
        if question not in {text for each in QUESTIONS for text in all_texts(each.wordings)}:
            assert expected_answer(question, clips) == answer, f"{cut.id}: {question}"


def test_each_conversation_has_two_or_three_clips_and_more_have_three(writer):
    counts = Counter(len(waves_of(cut)) for cut in writer.cuts("several-train"))
    assert counts.keys() == {2, 3}
    assert 0.5 < counts[3] / 300 < 0.7


def test_some_conversations_return_to_an_earlier_clip(writer):
    returns = 0
    for cut in writer.cuts("several-train"):
        turns = conversation_of(cut)
        with_clips = [any("audio" in part for part in turn["content"]) for turn in turns[::2]]
        returns += with_clips[:2] == [True, True] and not with_clips[-1]
    assert 0.2 < returns / 300 < 0.4


def test_answers_about_the_number_of_an_audio_are_of_every_number(writer):
    answers = Counter(list(exchanges_of(cut))[-1][1] for cut in writer.cuts("several-train"))
    assert min(answers[f"audio {number}"] for number in (1, 2, 3)) > 5
    assert 0.4 < answers["yes"] / (answers["yes"] + answers["no"]) < 0.6


def test_a_clip_in_two_conversations_is_stored_once(writer):
    recordings = [
        recording.sources[0].source
        for split in SPLITS
        for cut in writer.cuts(f"several-{split}")
        for recording in (cut.custom or {}).values()
    ]
    assert len(set(recordings)) < len(recordings)
    first = writer.cuts("several-train")[0]
    assert not first.recording.id.startswith(("several", "clip-"))


def test_the_same_seed_gives_the_same_conversations(tmp_path, writer):
    again = make_writer(tmp_path)
    write_several(again, clips={"several": 30, "validation": 0, "test": 0}, seed=1)
    same = [conversation_of(cut) for cut in again.cuts("several-train")]
    assert same == [conversation_of(cut) for cut in writer.cuts("several-train")[:30]]
    assert len(list(groupby(same))) == 30
