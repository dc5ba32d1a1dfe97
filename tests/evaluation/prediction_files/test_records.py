import pytest

from audio_lm.common.errors import DataError
from audio_lm.evaluation.prediction_files.records import read_records


def read(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_records(path)


@pytest.mark.parametrize(
    "content",
    [
        '[{"a": "x,1", "b": "2"}]',
        '\n{"a": "x,1", "b": "2"}\n\n',
        '\ufeffa,b\n"x,1",2\n',
        "a\tb\nx,1\t2\n",
    ],
)
def test_formats_are_recognized_by_content(tmp_path, content):
    (record,) = read(tmp_path, content)
    assert dict(record.fields) == {"a": "x,1", "b": "2"}


def test_parquet_is_read_without_its_audio(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"id": ["a"], "choices": [["x", "y"]], "audio": [b"RIFF"]})
    parquet.write_table(table, tmp_path / "file")
    (record,) = read_records(tmp_path / "file")
    assert record.fields == {"id": "a", "choices": ["x", "y"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no predictions"),
        ("[]", "holds no predictions"),
        ('{"a": 1}\n{"a": ', "file:2: not JSON .* -- expected one record per line"),
        ("[1]", "file: record 1: int -- expected a record with keys"),
        ("hello", "file:1: 'hello' is neither JSON nor the header of a table"),
        ("a,b\n1\n", "file:2: the number of cells is not that of the header -- expected 2"),
        ("a,b\n1,2,3\n", "file:2: the number of cells"),
        (b'{"a": "\xff"}', "file:1: not UTF-8"),
        (b"PAR1 broken", "not parquet"),
    ],
)
def test_damaged_files_are_refused_with_their_place(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)


def test_lines_of_tables_count_cells_of_several_lines(tmp_path):
    records = read(tmp_path, 'a,b\n"x\ny",1\nz,2\n')
    assert [record.place.rpartition(":")[2] for record in records] == ["2", "4"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent.json does not exist"):
        read_records(tmp_path / "absent.json")
