from collections import Counter

import pytest

from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.preferences import write_preferences
from tests.corpora.synthetic.noise_clips import clips_by_wave, conversation_of, exchanges_of, make_writer

CLIPS = {"preferences": 300, "validation": 40, "test": 60}


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    writer = make_writer(tmp_path_factory.mktemp("preferences"))
    write_preferences(writer, clips=CLIPS, seed=1)
    return writer


def fields(cut, prefix):
    return sorted(name for name in cut.custom or {} if name.startswith(prefix))


@pytest.mark.parametrize("split", SPLITS)
def test_every_row_has_a_rejected_answer_that_differs_or_other_clips(writer, split):
    cuts = writer.cuts(f"preferences-{split}")
    assert len(cuts) == CLIPS["preferences" if split == "train" else split]
    for cut in cuts:
        rejected, conversation = cut.supervisions[0].custom["rejected"], conversation_of(cut)
        if isinstance(rejected, str):
            assert rejected != conversation[-1]["content"][0]["text"], cut.id
            assert not fields(cut, "rejected_audio")
        else:
            assert rejected == conversation, cut.id
            assert fields(cut, "rejected_audio") == ["rejected_audio_1"]


def test_half_of_the_pairs_are_about_several_clips(writer):
    cuts = writer.cuts("preferences-train")
    several = sum(bool(fields(cut, "audio")) for cut in cuts)
    other_audio = sum(bool(fields(cut, "rejected_audio")) for cut in cuts)
    assert 0.42 < several / len(cuts) < 0.58
    assert 0.1 < other_audio / len(cuts) < 0.24


def test_the_answer_is_wrong_for_the_other_clip(writer):
    known = clips_by_wave(writer, "train")
    for cut in writer.cuts("preferences-train"):
        if fields(cut, "rejected_audio"):
            other = known[cut.custom["rejected_audio_1"].load_audio()[0].tobytes()]
            ((_, answer, _),) = exchanges_of(cut)
            right = known[cut.load_audio()[0].tobytes()]
            (names,) = {tuple(name for name, text in right.answers.items() if text == answer)}
            assert any(other.answers.get(name) not in (None, answer) for name in names), cut.id


def test_rejected_answers_have_no_word_of_their_own(writer):
    cuts = writer.cuts("preferences-train")
    right = Counter(
        word
        for cut in cuts
        for question, answer, _ in exchanges_of(cut)
        for word in f"{question} {answer}".replace(",", "").split()
    )
    rejected = [cut.supervisions[0].custom["rejected"] for cut in cuts]
    words = {word for text in rejected if isinstance(text, str) for word in text.split()}
    assert words <= right.keys()
