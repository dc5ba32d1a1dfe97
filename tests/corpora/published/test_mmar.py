import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.mmar import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text

ROW = {
    "id": "v_00",
    "audio_path": "./audio/v_00.wav",
    "question": "Where?",
    "choices": ["Sea", "City"],
    "answer": "Sea",
}


@pytest.mark.parametrize(
    ("name", "write"),
    [("MMAR-meta.jsonl", json.dumps), ("MMAR-meta.json", lambda row: f"[{json.dumps(row)}]")],
)
def test_both_forms_of_the_table_are_read(tmp_path, name, write):
    text(tmp_path / "mmar" / name, write(ROW) + "\n")
    sound(tmp_path / "mmar" / "audio" / "v_00.wav")
    (cut,) = cuts_of(CORPUS, tmp_path / "mmar", tmp_path / "out")["all-test"]
    assert labels_of(cut) == {"question": "Where?\nA. Sea\nB. City", "answer": "A. Sea"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "v_00"', r"MMAR-meta.jsonl:1: not JSON"),
        ('{"id": "v_00"}', "question 'v_00' has no audio_path"),
    ],
)
def test_damaged_rows_are_named(tmp_path, content, message):
    text(tmp_path / "mmar" / "MMAR-meta.jsonl", content)
    with pytest.raises(DataError, match=message):
        cuts_of(CORPUS, tmp_path / "mmar", tmp_path / "out")
