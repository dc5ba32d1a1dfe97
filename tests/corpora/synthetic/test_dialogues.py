from collections import Counter

import numpy as np
import pytest

from audio_lm.common.errors import DataError
from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.comparisons import COMPARISONS, WHICH_AUDIO
from audio_lm.corpora.synthetic.dialogues import write_dialogues
from audio_lm.corpora.synthetic.known_clips import known_clips
from audio_lm.corpora.synthetic.questions import QUESTIONS
from audio_lm.corpora.synthetic.writing import CutWriter
from tests.corpora.synthetic.noise_clips import (
    add_clips,
    all_texts,
    clips_by_wave,
    conversation_of,
    exchanges_of,
    waves_of,
)

CLIPS = {"dialogues": 300, "dialogues_text": 20, "validation": 60, "test": 80}


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dialogues")
    writer = CutWriter(folder, folder)
    for split in SPLITS:
        add_clips(writer, split)
    writer.add(
        "overlaps-train", np.zeros(1_600, dtype=np.float32), {"language": "en", "texts": ["one", "two"]}
    )
    writer.add(
        "phrases_new-test", np.zeros(1_600, dtype=np.float32), {"language": "de", "text": "gute Nacht"}
    )
    write_dialogues(writer, clips=CLIPS, seed=1)
    return writer


def expected_answer(question, clips, numbers):
    """Answer of the labels to a question, found by its wording."""
    for text in all_texts(WHICH_AUDIO):
        for number in numbers:
            before, after = text.format(number=number, question="|").split("|")
            if question.startswith(before) and question.endswith(after):
                return expected_answer(question.removeprefix(before), clips, (number,))
    for comparison in COMPARISONS:
        if question in all_texts(comparison.wordings):
            return comparison.answer(*(clips[number].answers[comparison.question] for number in numbers))
    (name,) = (known.name for known in QUESTIONS if question in all_texts(known.wordings))
    return clips[numbers[-1]].answers[name]


def test_every_split_has_the_configured_number_of_rows(writer):
    counts = {split: len(writer.cuts(f"dialogues-{split}")) for split in SPLITS}
    assert counts == {"train": 300, "validation": 60, "test": 80}
    assert len(writer.cuts("dialogues_text-train")) == 20
    assert not writer.cuts("dialogues_text-test")


@pytest.mark.parametrize("split", SPLITS)
def test_turns_alternate_and_clips_are_numbered_in_order(writer, split):
    for cut in writer.cuts(f"dialogues-{split}"):
        conversation = conversation_of(cut)
        assert [turn["role"] for turn in conversation] == ["user", "assistant"] * (len(conversation) // 2), (
            cut.id
        )
        assert 2 <= len(conversation) <= 6
        numbers = [part["audio"] for turn in conversation for part in turn["content"] if "audio" in part]
        assert numbers == list(range(1, len(numbers) + 1)), cut.id
        assert numbers == sorted(waves_of(cut)), cut.id


@pytest.mark.parametrize("split", SPLITS)
def test_clips_are_of_the_split_and_answers_follow_from_their_labels(writer, split):
    known = clips_by_wave(writer, split)
    for cut in writer.cuts(f"dialogues-{split}"):
        clips = {number: known[wave.tobytes()] for number, wave in waves_of(cut).items()}
        for question, answer, numbers in exchanges_of(cut):
            assert expected_answer(question, clips, numbers) == answer, f"{cut.id}: {question}"


def test_most_dialogues_are_about_one_clip_and_comparisons_are_a_tenth(writer):
    num_clips = Counter(len(waves_of(cut)) for cut in writer.cuts("dialogues-train"))
    assert num_clips[1] > 0.7 * 300
    texts = {text for comparison in COMPARISONS for text in all_texts(comparison.wordings)}
    num_comparisons = sum(
        question in texts for cut in writer.cuts("dialogues-train") for question, _, _ in exchanges_of(cut)
    )
    assert 0.05 * 300 < num_comparisons < 0.15 * 300


def test_held_out_wordings_are_in_the_test_split_only(writer):
    held_out = {text for known in (*QUESTIONS, *COMPARISONS) for text in known.wordings.held_out}
    questions = {
        split: {q for cut in writer.cuts(f"dialogues-{split}") for q, _, _ in exchanges_of(cut)}
        for split in SPLITS
    }
    text_rows = {
        turn["content"][0]["text"] for c in writer.cuts("dialogues_text-train") for turn in conversation_of(c)
    }
    assert not [q for q in questions["train"] | text_rows if any(q.endswith(text) for text in held_out)]
    assert len(questions["test"] & held_out) > 5


def test_overlaps_and_subsets_without_training_clips_have_no_dialogues(writer):
    for split in SPLITS:
        ids = {
            clip.cut.id
            for pool in known_clips(writer, split).values()
            for clips in pool.values()
            for clip in clips
        }
        assert not [cut_id for cut_id in ids if cut_id.startswith(("overlaps", "phrases_new", "dialogues"))]


def test_the_honesty_of_a_conversation_is_that_of_its_weakest_answer(writer):
    for cut in writer.cuts("dialogues-train"):
        answers = {answer for _, answer, _ in exchanges_of(cut)}
        texts = " ".join(question for question, _, _ in exchanges_of(cut))
        is_declared = bool(answers & {"male", "female"}) or "gender" in texts
        honesty = cut.supervisions[0].custom["honesty"]["conversation"]
        assert honesty == ("declared" if is_declared else "exact"), cut.id


def test_the_same_seed_gives_the_same_dialogues(tmp_path, writer):
    again = CutWriter(tmp_path, tmp_path)
    for split in SPLITS:
        add_clips(again, split)
    write_dialogues(again, clips={"dialogues": 40, "dialogues_text": 10, "validation": 0, "test": 0}, seed=1)
    for subset in ("dialogues-train", "dialogues_text-train"):
        for same, cut in zip(again.cuts(subset), writer.cuts(subset), strict=False):
            assert conversation_of(same) == conversation_of(cut)


def test_dialogues_without_any_clips_are_an_error(tmp_path):
    writer = CutWriter(tmp_path, tmp_path)
    with pytest.raises(DataError, match="no clip for 'dialogues-train'"):
        write_dialogues(writer, clips={"dialogues": 1, "validation": 0, "test": 0}, seed=0)
