"""Read JSON lines from untrusted files, with limits on length, depth and size.

Independent of cuts. An error states the reason; the caller adds file and line.

Source: measured; the cut of a one-hour meeting with all word times is under 1 MiB.
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
MAX_SKIPPED_BYTES = 64 << 20  # a file with a longer line is refused; shorter ones over the limit are skipped
MAX_DEPTH = 64  # of nested lists and objects
MAX_CONTAINERS = 100_000  # lists and objects of a line; an empty one takes 64 bytes
MAX_UNPACKED_RATIO = 200  # times the size of a .gz; manifests reach 40
MIN_UNPACKED_BYTES = 16 << 20  # below this the ratio is not checked
UNPACKED_AT_ONCE = 1 << 20  # bytes
TOO_DEEP = f"lists and objects are nested over {MAX_DEPTH} deep"
SHOWN = 60  # characters of a value in a message
_DECODER = json.JSONDecoder()
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class InvalidLineError(Exception):
    """A line cannot be used; the message states the reason."""


class NumberedLine(NamedTuple):
    """Line of a file."""

    file: Path
    number: int
    text: bytes
    """With its newline; truncated after ``MAX_LINE_BYTES`` + 1."""

    num_bytes: int
    """Length of the line in its file, with its newline."""


def lines_in(path: Path) -> Iterator[NumberedLine]:
    """Iterate over the lines of a file, plain or gzip.

    Raises:
        DataError: the file cannot be read, a line exceeds ``MAX_SKIPPED_BYTES``, or a gzip file unpacks to far more
            than its size.
    """
    number = 0
    is_gzip = path.suffix == ".gz"
    try:
        if is_gzip:
            _check_unpacked(path)
        with gzip.open(path) if is_gzip else path.open("rb") as file:
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
    """Check the unpacked size of a gzip file before its lines are parsed: a million lines of one byte take a second.

    Raises:
        DataError: the unpacked size is far more than the size of the file.
    """
    packed_bytes, unpacked = path.stat().st_size, 0
    with gzip.open(path) as file:
        while block := file.read(UNPACKED_AT_ONCE):
            unpacked += len(block)
            if unpacked > max(MIN_UNPACKED_BYTES, MAX_UNPACKED_RATIO * packed_bytes):
                raise DataError(
                    f"{path} unpacks to over {MAX_UNPACKED_RATIO} times its {packed_bytes} bytes, as no manifest does; check "
                    f"it, and unpack it yourself if it is correct"
                )


def parse_line(text: bytes) -> Any:
    """Parse a line of JSON.

    Raises:
        InvalidLineError: the line is not JSON, too long, too deeply nested, or has text that is not valid Unicode.
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
    value = _decode(decoded)
    if num_containers > MAX_DEPTH:
        _check_depth(value)
    if _SURROGATE.search(decoded):
        _check_unicode(value)
    return value


def _decode(text: str) -> Any:
    try:
        return _DECODER.decode(text)  # of a duplicate key the last value counts, as in Lhotse
    except ValueError as error:
        raise InvalidLineError(f"the line is not JSON ({error})") from error
    except RecursionError as error:
        raise InvalidLineError(TOO_DEEP) from error


def short_repr(value: Any) -> str:
    """Repr of a value for a message, at most ``SHOWN`` characters."""
    if isinstance(value, int) and value.bit_length() > 200:  # Python refuses to print over 4 300 digits
        return f"an integer of {value.bit_length()} bits"
    text = repr(value[:SHOWN] if isinstance(value, str | list) else value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _check_depth(value: Any) -> None:
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        children = (container.values() if isinstance(container, dict) else container for container in level)
        level = [child for values in children for child in values if isinstance(child, dict | list)]
    if level:
        raise InvalidLineError(TOO_DEEP)


def _check_unicode(value: Any) -> None:
    """Refuse half of a surrogate pair, which cannot be tokenized or written to a file."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidLineError(
            "a text has half a surrogate pair (\\ud800 to \\udfff), which is not valid Unicode"
        ) from error
