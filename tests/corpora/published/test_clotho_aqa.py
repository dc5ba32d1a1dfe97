import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.clotho_aqa import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text

HEADING = "file_name,QuestionText,answer,confidence\n"


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "aqa"
    text(
        root / "clotho_aqa_train.csv",
        HEADING + "Rain.wav,Is it raining?,yes,yes\nRain.wav,Is it raining?,no,maybe\n",
    )
    sound(root / "audio_files" / "Rain.wav")
    return root


def test_every_answer_is_a_cut(source, tmp_path):
    manifests = cuts_of(CORPUS, source, tmp_path / "out")
    assert [labels_of(cut) for cut in manifests["questions-train"]] == [
        {"question": "Is it raining?", "answer": "yes"},
        {"question": "Is it raining?", "answer": "no"},
    ]


def test_a_clip_whose_file_name_differs_from_the_table_is_found(source, tmp_path):
    text(source / "clotho_aqa_val.csv", HEADING + "souffle_me_tallique.wav,Is it metal?,yes,yes\n")
    sound(source / "audio_files" / "souffle_me.tallique.wav")
    (cut,) = cuts_of(CORPUS, source, tmp_path / "out")["questions-validation"]
    assert cut["recording"]["sources"][0]["source"].endswith("souffle_me.tallique.wav")


def test_the_error_for_a_row_without_an_answer_names_it(source, tmp_path):
    text(source / "clotho_aqa_train.csv", HEADING + "Rain.wav,Is it raining?,,yes\n")
    with pytest.raises(DataError, match=r"clotho_aqa_train\.csv:2"):
        cuts_of(CORPUS, source, tmp_path / "out")
