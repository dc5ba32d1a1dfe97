import pytest
from pyarrow import Table, parquet

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.mmau_pro import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text

ROW = {"id": "p-1", "question": "Which is louder?", "category": "multi"}
ROWS = [
    ROW | {"audio_path": ["data/1.wav", "data/2.wav"], "choices": ["first", "second"], "answer": "second"},
    ROW
    | {
        "id": "p-2",
        "audio_path": ["data/1.wav"],
        "choices": None,
        "answer": "a long story",
        "category": "open",
    },
    ROW | {"id": "p-3", "audio_path": ["data/gone.wav"], "choices": ["x", "y"], "answer": "x"},
]


def test_closed_questions_keep_all_their_clips(tmp_path):
    root = tmp_path / "pro"
    for name in ("1", "2"):
        sound(root / "data" / f"{name}.wav")
    parquet.write_table(Table.from_pylist(ROWS), root / "test.parquet")
    (cut,) = cuts_of(CORPUS, root, tmp_path / "out")["closed-test"]
    assert labels_of(cut) == {"question": "Which is louder?\nA. first\nB. second", "answer": "B. second"}
    assert cut["custom"]["audio_2"]["sources"][0]["source"].endswith("2.wav")


def test_a_damaged_table_is_named(tmp_path):
    text(tmp_path / "pro" / "test.parquet", "no parquet")
    with pytest.raises(DataError, match=r"test.parquet is not parquet"):
        cuts_of(CORPUS, tmp_path / "pro", tmp_path / "out")
