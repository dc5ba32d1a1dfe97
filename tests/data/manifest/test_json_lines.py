import gzip
import json
import os

import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.manifest import json_lines
from audio_lm.data.manifest.json_lines import (
    MAX_LINE_BYTES,
    InvalidLineError,
    lines_in,
    parse_line,
    short_repr,
)

BOUNDED = {
    "long": (b'"' + b"x" * MAX_LINE_BYTES + b'"', "over 4 MiB"),
    "deep": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "over 64 deep"),
    "a little too deep": (b"[" * 65 + b"]" * 65, "over 64 deep"),
    "deep in a list that is wide": (b"[1,2," + b'{"a":' * 70 + b"1" + b"}" * 70 + b"]", "over 64 deep"),
    "many lists": (b"[" + b"[]," * 100_000 + b"1]", "100001 brackets"),
    "an integer of 5 000 digits": (b'{"a": ' + b"7" * 5_000 + b"}", "not JSON"),
    "half a surrogate pair": (b'{"a": ["\\ud800"]}', "surrogate"),
    "half a surrogate pair in a key": (b'{"\\uDFFF": 1}', "surrogate"),
    "half a surrogate pair in raw bytes": (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    "two values": (b"{} {}", "not JSON"),
}


@pytest.mark.parametrize("kind", BOUNDED)
def test_a_line_out_of_bounds_is_refused_with_the_reason(kind):
    text, why = BOUNDED[kind]
    with pytest.raises(InvalidLineError, match=why):
        parse_line(text)


def test_any_json_within_the_bounds_is_read():
    value = {
        "a": [1, 2.5, None, True, {"b": "\U0001f600 \u00e9"}],
        "c": [[[[]]]] * 100,
        "d": "\\ud800 as text",
    }
    assert parse_line(json.dumps(value).encode()) == value
    assert parse_line(json.dumps(value, ensure_ascii=False).encode()) == value
    assert parse_line(b"\xef\xbb\xbf{}\r\n") == {}
    assert parse_line(b"[" * 64 + b"]" * 64)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_lines_have_their_newlines_and_sizes(tmp_path, monkeypatch, name):
    monkeypatch.setattr(json_lines, "MAX_LINE_BYTES", 10)
    content = b"one\n" + b"x" * 25 + b"\n\nlast"
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    found = list(lines_in(path))
    assert [line.text for line in found] == [b"one\n", b"x" * 11, b"\n", b"last"]
    assert [line.num_bytes for line in found] == [4, 26, 1, 4]
    assert [line.number for line in found] == [1, 2, 3, 4]


def test_an_endless_line_stops_the_reading(tmp_path):
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'{"id": "c"}\n')
        for _ in range(100):
            file.write(os.urandom(1 << 14).replace(b"\n", b"0") * 64)
    with pytest.raises(DataError, match=r"bomb.jsonl.gz:2: a line of over 64 MiB"):
        list(lines_in(path))


def test_a_gzip_bomb_stops_the_reading(tmp_path):
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(40):
            file.write(b"\n" * (1 << 20))
    with pytest.raises(DataError, match="over 200 times its"):
        next(lines_in(path))


def test_a_truncated_gzip_file_is_named(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"one\n" * 1000)[:-20])
    with pytest.raises(DataError, match="cannot be read to its end"):
        list(lines_in(path))


def test_a_value_in_a_message_is_short():
    for value in ("x" * 10**6, [1] * 10**6, 10**4000, {"a": "b" * 1000}):
        assert len(short_repr(value)) < 80
    assert short_repr("a") == "'a'"
