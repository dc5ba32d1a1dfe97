"""Lines of JSON from files that somebody else wrote: bounded in length, depth and size before anything is built of them.

Knows nothing of cuts. A line that is refused says why; the caller names file and line.

Source: the bounds were measured: the cut of an hour's meeting with every word's time is under 1 MiB.
"""

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from audio_lm.common.errors import DataError

MAX_LINE_BYTES = 4 << 20  # bytes
MAX_SKIPPED_BYTES = 64 << 20  # bytes; a file with a longer line is not searched for the next one
MAX_DEPTH = 64  # lists and objects within each other
MAX_CONTAINERS = 100_000  # lists and objects of a line; an empty one takes 64 bytes
MAX_UNPACKED_RATIO = 200  # times the size of a .gz; manifests reach 40
MIN_UNPACKED_BYTES = 16 << 20  # bytes, before the ratio is looked at
UNPACKED_AT_ONCE = 1 << 20  # bytes
TOO_DEEP = f"lists and objects lie within each other over {MAX_DEPTH} deep"
SHOWN = 60  # characters of a value in a message
_DECODER = json.JSONDecoder()
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class InvalidLineError(Exception):
    """A line cannot be used; the message says why."""


class NumberedLine(NamedTuple):
    """A line of a file."""

    file: Path
    number: int
    text: bytes
    """With its end; one over ``MAX_LINE_BYTES`` is cut off there."""

    num_bytes: int
    """Of the line in its file, to the next one."""


def lines_in(path: Path) -> Iterator[NumberedLine]:
    """The lines of a file, plain or gzip, one after the other.

    Raises:
        DataError: it cannot be read, a line is far too long, or it unpacks to far more than its size.
    """
    number = 0
    is_packed = path.suffix == ".gz"
    try:
        if is_packed:
            _check_unpacked(path)
        with gzip.open(path) if is_packed else path.open("rb") as file:
            while text := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                num_bytes = len(text)
                while num_bytes > MAX_LINE_BYTES and not text.endswith(b"\n"):
                    more = file.readline(MAX_LINE_BYTES)
                    num_bytes += len(more)
                    if not more or more.endswith(b"\n"):
                        break
                    if num_bytes > MAX_SKIPPED_BYTES:
                        raise DataError(
                            f"{path}:{number}: a line of over {MAX_SKIPPED_BYTES >> 20} MiB -- expected one cut a "
                            f"line, of at most {MAX_LINE_BYTES >> 20} MiB; write the manifest again"
                        )
                yield NumberedLine(path, number, text, num_bytes)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read to its end ({error}); copy it again") from error


def _check_unpacked(path: Path) -> None:
    """Count what a gzip file unpacks to, before any line of it is looked at: lines of one byte cost a second a million.

    Raises:
        DataError: it is far more than its size.
    """
    packed_bytes, unpacked = path.stat().st_size, 0
    with gzip.open(path) as file:
        while piece := file.read(UNPACKED_AT_ONCE):
            unpacked += len(piece)
            if unpacked > max(MIN_UNPACKED_BYTES, MAX_UNPACKED_RATIO * packed_bytes):
                raise DataError(
                    f"{path} unpacks to over {MAX_UNPACKED_RATIO} times its {packed_bytes} bytes, as no manifest does; look "
                    f"into it, and unpack it yourself if it is right"
                )


def parse_line(text: bytes) -> Any:
    """What a line of JSON holds.

    Raises:
        InvalidLineError: it is no JSON, too long, too deep, or holds text that is no Unicode.
    """
    if len(text) > MAX_LINE_BYTES:
        raise InvalidLineError(
            f"the line is over {MAX_LINE_BYTES >> 20} MiB; cut the recording up, for instance with trim_to_supervisions"
        )
    num_containers = text.count(b"[") + text.count(b"{")
    if num_containers > MAX_CONTAINERS:
        raise InvalidLineError(f"the line has {num_containers} brackets -- expected at most {MAX_CONTAINERS}")
    try:
        decoded = text.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise InvalidLineError("the line is not UTF-8") from error
    value = _loaded(decoded)
    if num_containers > MAX_DEPTH:
        _check_depth(value)
    if _SURROGATE.search(decoded):
        _check_unicode(value)
    return value


def _loaded(text: str) -> Any:
    try:
        return _DECODER.decode(text)  # of a key that stands twice the last one counts, whoever reads it
    except ValueError as error:
        raise InvalidLineError(f"the line is no JSON ({error})") from error
    except RecursionError as error:
        raise InvalidLineError(TOO_DEEP) from error


def short_repr(value: Any) -> str:
    """A value as a message shows it: not longer than ``SHOWN`` characters."""
    if isinstance(value, int) and value.bit_length() > 200:  # Python shows none of over 4 300 digits
        return f"an integer of {value.bit_length()} bits"
    text = repr(value[:SHOWN] if isinstance(value, str | list) else value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _check_depth(value: Any) -> None:
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        inside = (one.values() if isinstance(one, dict) else one for one in level)
        level = [inner for values in inside for inner in values if isinstance(inner, dict | list)]
    if level:
        raise InvalidLineError(TOO_DEEP)


def _check_unicode(value: Any) -> None:
    """Refuse half of a surrogate pair, which no tokenizer and no file takes."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidLineError(
            "a text holds half a surrogate pair (\\ud800 to \\udfff), which is no Unicode"
        ) from error
