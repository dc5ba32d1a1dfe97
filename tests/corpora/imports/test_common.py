import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.common import (
    ImportOptions,
    for_each_row,
    parse_seconds,
    read_lines,
    refuse_columns,
    resolve_audio_path,
)


def rows_of(path, key=""):
    rows = []
    for_each_row(path, lambda number, row: rows.append((number, row)), [], key=key)
    return rows


def test_json_lines_and_json_arrays_give_the_same_numbered_rows(tmp_path):
    rows = [{"a": "x, [y]"}, {"a": {"b": ["\u2028", "]"]}}, {"a": None}]
    lines, array, inside = tmp_path / "a.jsonl", tmp_path / "a.json", tmp_path / "b.json"
    lines.write_text(
        "\ufeff" + "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8"
    )
    array.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    inside.write_text(json.dumps({"more": "[", "key": rows}, indent=1), encoding="utf-8")
    in_one_line = tmp_path / "c.json"
    in_one_line.write_text(json.dumps(rows), encoding="utf-8")
    numbered = list(enumerate(rows, start=1))
    assert rows_of(lines) == rows_of(array) == rows_of(in_one_line) == numbered
    assert rows_of(inside, "key") == numbered


@pytest.mark.parametrize(
    ("indent", "places"), [(None, [(1, 2), (1, 3)]), (1, [(5, 2), (8, 3)])], ids=["one line", "many lines"]
)
def test_errors_in_a_json_array_name_row_and_line(tmp_path, indent, places):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"a": 1}, {"a": 2}, {"a": 3}], indent=indent))

    def take(number, row):
        if row["a"] > 1:
            raise DataError(f"a is {row['a']}")

    with pytest.raises(DataError) as caught:
        for_each_row(path, take, [])
    assert str(caught.value).splitlines()[1:] == [
        f"{path}:{line}: row {number}: a is {number}" for line, number in places
    ]


def test_unread_keys_are_counted_also_within_read_ones(tmp_path):
    rows = [
        {
            "text": "a",
            "pnc": "yes",
            "turns": [{"say": 1, "name": "x"}, {"say": 2, "name": "y"}],
            "none": None,
        },
        {"text": "b", "pnc": "no", "turns": [], "clip": {"path": "p", "rate": 8}, "extra": {"deep": 1}},
        {"text": "left out", "pnc": "no"},
    ]
    path, notes = tmp_path / "a.json", []
    path.write_text(json.dumps(rows))

    def take(number, row):
        if row.get("text") == "left out":
            row.skip()
            return
        for turn in row["turns"]:
            turn["say"]
        if (clip := row.get("clip")) is not None:
            clip.get("path")

    for_each_row(path, take, notes)
    assert notes == [
        "columns not read: clip.rate (1 rows), extra (1 rows), pnc (2 rows), turns[].name (1 rows)"
    ]
    for_each_row(path, lambda number, row: row.skip(), notes)
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "has no rows"),
        (b"[]", "has no rows"),
        (b'{"a": 1}\n{"a": }\n', r"a\.jsonl:2: this is not JSON"),
        (b'{"a": 1}\n7\n', r"a\.jsonl:2: .* expected a JSON object"),
        (b'[{"a": 1},\n7]', r"a\.jsonl:2: row 2: .* expected a JSON object"),
        (b'[{"a": 1},\n{]', r"a\.jsonl:2: this is not JSON"),
        (b'{"a": "\xe9"}', "is not UTF-8"),
        (
            b'{"a": 1}\n{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            r"a\.jsonl:2: this JSON cannot be read",
        ),
        (b'{"a": 1}\n{"a": ' + b"7" * 5_000 + b"}", r"a\.jsonl:2: this JSON cannot be read"),
        (b"[" * 100_000, r"a\.jsonl: this JSON cannot be read"),
        (b'{"a": "x"}\n{"a": "\\ud83d"}', r"a\.jsonl:2: the row contains half of a character"),
    ],
)
def test_the_error_for_an_invalid_row_names_it(tmp_path, text, reason):
    path = tmp_path / "a.jsonl"
    path.write_bytes(text)
    with pytest.raises(DataError, match=reason):
        rows_of(path)


def test_the_error_for_a_missing_file_names_it(tmp_path):
    with pytest.raises(DataError, match=r"gone\.txt is missing"):
        list(read_lines(tmp_path / "gone.txt"))


def test_paths_are_relative_to_the_file_or_to_the_audio_root(folder, tmp_path):
    a = folder / "wavs" / "a.wav"
    assert resolve_audio_path("wavs/a.wav", folder, ImportOptions()) == a
    assert resolve_audio_path(str(a), tmp_path, ImportOptions()) == a
    assert resolve_audio_path("../wavs/a.wav", folder / "wavs", ImportOptions()).samefile(a)
    inside = ImportOptions(audio_root=folder / "wavs")
    assert resolve_audio_path("a.wav", tmp_path, inside) == a
    assert resolve_audio_path(str(a), tmp_path, inside) == a


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "expected the path"),
        (["a.wav"], "expected the path"),
        (" ", "expected the path"),
        ("sox x.wav -t wav - |", "commands are not run"),
        ("pipe:cat a.wav", "commands are not run"),
        ("| cat a.wav", "commands are not run"),
        ("s3://bucket/a.wav", "URLs are not downloaded"),
        ("data:audio/wav;base64,UklGR", "URLs are not downloaded"),
        ("../a.wav", "is outside"),
        ("/etc/passwd", "is outside"),
        ("gone.wav", "is missing"),
        (".", "is missing"),
    ],
)
def test_audio_paths_that_must_not_be_read_are_refused(folder, value, reason):
    with pytest.raises(DataError, match=reason):
        resolve_audio_path(value, folder, ImportOptions(audio_root=folder / "wavs"))


@pytest.mark.parametrize("value", [-1, "x", None, float("nan"), float("inf"), True])
def test_a_time_is_a_number_of_seconds(value):
    assert parse_seconds("start", "1.5") == 1.5
    with pytest.raises(DataError, match="start is"):
        parse_seconds("start", value)


def test_columns_without_effect_are_refused():
    refuse_columns(ImportOptions(), "kaldi")
    with pytest.raises(DataError, match=r"\['a'\]"):
        refuse_columns(ImportOptions(columns={"a": "text"}), "kaldi")
