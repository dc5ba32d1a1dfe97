import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.commonvoice import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text

HEADING = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\n"


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "cv-corpus"
    rows = "c0ffee\ta.mp3\tHe is here.\t2\t0\ttwenties\tmale_masculine\tUnited States English\n"
    text(root / "en" / "train.tsv", HEADING + rows + "beef\tb.mp3\tYes.\t2\t0\t\t\t\n")
    for name in ("a", "b"):
        sound(root / "en" / "clips" / f"{name}.mp3", seconds=0.5)
    return root


def test_speakers_declare_gender_age_and_accent_or_nothing(source, tmp_path):
    declared, undeclared = cuts_of(CORPUS, source.parent, tmp_path / "out")["en-train"]
    assert labels_of(declared) == {
        "language": "en",
        "text": "He is here.",
        "speaker": "c0ffee",
        "gender": "male",
        "age": "twenties",
        "dialect": "United States English",
    }
    assert labels_of(undeclared) == {"language": "en", "text": "Yes.", "speaker": "beef"}
    assert declared["supervisions"][0]["custom"]["honesty"]["age"] == "declared"


def test_the_error_for_a_row_without_a_sentence_names_it(source, tmp_path):
    text(source / "en" / "train.tsv", HEADING + "c0ffee\ta.mp3\t\t2\t0\t\t\t\n")
    with pytest.raises(DataError, match=r"train\.tsv:2: expected a path and a sentence"):
        cuts_of(CORPUS, source, tmp_path / "out")
