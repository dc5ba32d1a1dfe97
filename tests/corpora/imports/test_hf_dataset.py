import sys

import pytest

from audio_lm.common.errors import DataError, UserError
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.hf_dataset import open_dataset
from tests.corpora.imports.hf_data import rows, write_parquet

datasets = pytest.importorskip("datasets")
TRAIN = ImportOptions(split="train")


def test_a_position_continues_after_every_row(tmp_path):
    given = str(write_parquet(tmp_path / "given", rows(7)))
    for count in range(7):
        dataset = open_dataset(given, TRAIN)
        dataset.audio_column = "audio"
        stream = dataset.rows(None, 0)
        before = [next(stream).name for _ in range(count)]
        position = dataset.position() if count else None
        again = open_dataset(given, TRAIN)
        again.audio_column = "audio"
        after = [row.name for row in again.rows(position, count)]
        assert before + after == [f"{number}.flac" for number in range(7)], count


def test_the_number_of_rows_of_parquet_files_is_known_before_they_are_read(tmp_path):
    given = write_parquet(tmp_path / "given", rows(5))
    assert open_dataset(str(given), TRAIN).num_rows == 5
    assert open_dataset(str(given / "data" / "train-00000-of-00002.parquet"), TRAIN).num_rows == 3


def test_the_digest_depends_on_the_files(tmp_path):
    given = write_parquet(tmp_path / "given", rows(2))
    first = open_dataset(str(given), TRAIN).digest()
    assert open_dataset(str(given), TRAIN).digest() == first
    write_parquet(given, rows(3))
    assert open_dataset(str(given), TRAIN).digest() != first


def test_a_card_that_names_files_of_another_place_is_refused(tmp_path):
    write_parquet(tmp_path / "secret", rows(2))
    given = write_parquet(tmp_path / "given", rows(2))
    (given / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n"
        f"    path: {tmp_path}/secret/data/*.parquet\n---\n"
    )
    with pytest.raises(DataError, match=r"has data files of another place|cannot be opened as a dataset"):
        open_dataset(str(given), TRAIN)


def test_a_dataset_with_code_of_its_own_is_refused_and_its_code_is_not_run(tmp_path):
    given = tmp_path / "given"
    given.mkdir()
    (given / "given.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(DataError, match="cannot be opened as a dataset"):
        open_dataset(str(given), TRAIN)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a.csv": "audio,text\nx.wav,one\n"}, "is a dataset of csv files -- expected one of parquet"),
        ({}, "cannot be opened as a dataset"),
        ({"train.parquet": "no parquet"}, "cannot be opened as a dataset"),
    ],
)
def test_other_folders_are_one_sentence(tmp_path, files, reason):
    given = tmp_path / "given"
    given.mkdir()
    for name, text in files.items():
        (given / name).write_text(text)
    with pytest.raises(DataError, match=reason) as caught:
        open_dataset(str(given), TRAIN)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_folder_is_not_looked_up_in_the_hub(tmp_path):
    with pytest.raises(DataError, match="is missing; give an existing folder"):
        open_dataset(str(tmp_path / "gone"), TRAIN)


def test_a_missing_library_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'audio-lm\[hf\]'"):
        open_dataset(str(tmp_path), TRAIN)
