import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import DataError
from audio_lm.corpora.delimited import read_records, record_dict


def read(path, text, separator=","):
    path.write_text(text, encoding="utf-8", newline="")
    columns, lines = read_records(path, separator=separator)
    return columns, list(lines)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_records_have_the_number_of_their_first_line(tmp_path, end):
    lines = ["name,text", 'a.wav,"one, two"', "", 'b.wav,"first', 'second ""quoted"""', 'c.wav,5" pipe', ""]
    columns, rows = read(tmp_path / "a.csv", "\ufeff" + end.join(lines))
    assert columns == ["name", "text"]
    assert rows == [
        (2, ["a.wav", "one, two"]),
        (4, ["b.wav", f'first{end}second "quoted"']),
        (6, ["c.wav", '5" pipe']),
    ]


def test_quotes_in_a_tab_separated_file_are_ordinary_characters(tmp_path):
    assert read(tmp_path / "a.tsv", 'name\ttext\na.wav\t"one\nb.wav\ttwo\n', "\t")[1] == [
        (2, ["a.wav", '"one']),
        (3, ["b.wav", "two"]),
    ]


ROWS = ["a.wav,Hello there,en", "b.wav,two,en", "c.wav,three,de", "d.wav,four,en", "e.wav,five,en"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("column", [0, 1, 2])
@pytest.mark.parametrize("closed_by", [1, 2, 4, None])
@pytest.mark.parametrize("opened_in", [0, 2, 4])
def test_the_error_for_an_unclosed_quote_names_its_line(tmp_path, end, column, closed_by, opened_in):
    rows = [row.split(",") for row in ROWS]
    rows[opened_in][column] = '"' + rows[opened_in][column]
    if closed_by is not None:
        closing = opened_in + closed_by
        if closing >= len(rows):
            return
        rows[closing][column] += '"'
    text = end.join(["file_name,text,language", *map(",".join, rows)]) + end
    with pytest.raises(DataError, match=rf"a\.csv:{opened_in + 2}: "):
        read(tmp_path / "a.csv", text)


@pytest.mark.parametrize(
    "text",
    [
        'name,text\na.wav,"Hello, you\nb.wav,two\nc.wav,three"\n',
        'name,text\na.wav,"Hello\n\nb.wav,two\n\nc.wav,three"\n',
        'name,text\na.wav,"Hello\nb.wav,two, more\nc.wav,three"\n',
        'text,name\n"Hello,a.wav\ntwo,b.wav\nthree",c.wav\n',
        'name,text\na.wav,"Hello\nb.wav,""\nc.wav,three"\n',
        'name,text\na.wav,"Hello\nb.wav,""two""\nc.wav,three"\n',
        'id,text\na,"Hello\nb,two\nc,three"\n',
    ],
)
def test_rows_swallowed_by_an_unclosed_quote_are_detected(tmp_path, text):
    with pytest.raises(DataError, match=r"a\.csv:2: the quote that opens here closes \d lines below"):
        read(tmp_path / "a.csv", text)


@pytest.mark.parametrize(
    "cell",
    ["first\nsecond", "Row, row,\nrow your boat,\ngently", "one\n\ntwo", "a list:\n- x\n- y, z, and more\n"],
)
def test_cells_of_several_lines_are_read_unless_they_look_like_rows(tmp_path, cell):
    assert read(tmp_path / "a.csv", f'name,text\na.wav,"{cell}"\n')[1] == [(2, ["a.wav", cell])]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'name,text\na.wav,x\nb.wav,"word" word\n', r"a\.csv:3: this is not CSV"),
        (b'name,text\na.wav,x\n\nb.wav,"open\nc.wav,x\n', r"a\.csv:4: this is not CSV"),
        (b"name,text\na.wav,caf\xe9\n", r"a\.csv:\d: this is not UTF-8"),
        (b"name;text\na.wav;x\n", r"a\.csv:1: the header is one column, 'name;text'"),
        (b"name,name\na.wav,x\n", r"a\.csv:1: duplicate columns \['name'\]"),
        (b'name,text\na.wav,"' + b"x" * 200_000 + b'"\n', r"a\.csv:2: this is not CSV .*field larger"),
    ],
)
def test_the_error_for_an_invalid_table_names_its_line(tmp_path, content, reason):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        list(read_records(path)[1])


def test_a_record_needs_a_cell_for_each_column():
    assert record_dict(["a", "b"], ["1", "2"]) == {"a": "1", "b": "2"}
    for cells in (["1"], ["1", "2", "3"]):
        with pytest.raises(DataError, match=f"cells: {len(cells)} -- expected 2"):
            record_dict(["a", "b"], cells)


def test_an_empty_file_has_no_columns_and_a_missing_one_is_an_error(tmp_path):
    assert read(tmp_path / "a.csv", "") == ([], [])
    with pytest.raises(DataError, match="is missing"):
        read_records(tmp_path / "none.csv")


texts = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=9)


@given(rows=st.lists(st.tuples(texts, texts), max_size=4))
def test_reading_inverts_the_csv_writer(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("name", "text"), *rows])
    assert [tuple(cells) for _, cells in read_records(path)[1]] == rows
