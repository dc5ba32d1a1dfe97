import pytest

from audio_lm.common.errors import DataError
from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.spoken import write_spoken
from audio_lm.corpora.synthetic.spoken_questions import EXERCISES, NAME_OF_TEXT
from audio_lm.corpora.synthetic.writing import CutWriter
from tests.corpora.synthetic.noise_clips import (
    add_clips,
    clips_by_wave,
    conversation_of,
    make_writer,
    waves_of,
)

CLIPS = {"spoken": 200, "validation": 30, "test": 60}


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    writer = make_writer(tmp_path_factory.mktemp("spoken"))
    write_spoken(writer, clips=CLIPS, seed=1)
    return writer


def spoken_texts(writer, split):
    return {
        cut.load_audio()[0].tobytes(): cut.supervisions[0].text
        for cut in writer.cuts(f"spoken_questions-{split}")
    }


@pytest.mark.parametrize("split", SPLITS)
def test_every_question_is_spoken_in_the_split_and_its_answer_follows_from_the_labels(writer, split):
    texts, known = spoken_texts(writer, split), clips_by_wave(writer, split)
    num_alone = 0
    for cut in writer.cuts(f"spoken-{split}"):
        waves, turns, clip = waves_of(cut), conversation_of(cut), None
        for user, assistant in zip(turns[::2], turns[1::2], strict=True):
            assert all("audio" in part for part in user["content"]), cut.id
            *before, question = (waves[part["audio"]].tobytes() for part in user["content"])
            clip = known[before[0]] if before else clip
            text, answer = texts[question], assistant["content"][0]["text"]
            num_alone += text in EXERCISES
            expected = EXERCISES[text] if clip is None else clip.answers[NAME_OF_TEXT[text]]
            assert answer == expected, f"{cut.id}: {text}"
    assert 0.1 < num_alone / len(writer.cuts(f"spoken-{split}")) < 0.5


def test_without_spoken_questions_the_setting_is_named(tmp_path):
    writer = CutWriter(tmp_path, tmp_path)
    for split in SPLITS:
        add_clips(writer, split)
    with pytest.raises(DataError, match=r"clips\.spoken_questions"):
        write_spoken(writer, clips=CLIPS, seed=0)
