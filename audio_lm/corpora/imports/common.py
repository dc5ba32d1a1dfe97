"""What all imports share: options, rows that know their line, bad lines told together, audio that may be read."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.channels import AVERAGE

MAX_LINES_SHOWN = 20  # of bad ones that are told
MAX_KEYS_SHOWN = 20  # of those not read that are named
TOOL_KEYS = frozenset({"tools", "tool_calls", "function_call", "functions"})
_GAP = re.compile(r"[\s,]*")


class Row(dict[str, Any]):
    """An object of a foreign file that knows which of its keys were read; objects inside of it are rows too."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, which counts as read."""
        self.read.add(key)
        return super().get(key, default)

    def skip(self, keys: Iterable[str] | None = None) -> None:
        """Count keys, or all of them, as left out on purpose."""
        self.read.update(self if keys is None else keys)

    def inner(self) -> Iterator[tuple[str, "Row"]]:
        """The rows directly inside of this one, with the key that leads there: ``a``, or ``a[]`` in a list."""
        for key, value in self.items():
            if isinstance(value, Row):
                yield key, value
            elif isinstance(value, list):
                yield from ((f"{key}[]", one) for one in value if isinstance(one, Row))

    def unread(self) -> set[str]:
        """Keys with a value that nobody read; of inner rows those of which something was read."""
        found = {key for key, value in self.items() if key not in self.read and not _is_empty(value)}
        for key, row in self.inner():
            if row.read and key.removesuffix("[]") in self.read:
                found |= {f"{key}.{one}" for one in row.unread()}
        return found


class UnreadKeys:
    """Counts rows by the keys that an import did not read, so that nothing is dropped in silence."""

    def __init__(self) -> None:
        self._num_rows: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        """Count a row that was imported."""
        self._num_rows.update(row.unread())

    def notes(self) -> list[str]:
        """One sentence, or none where everything was read."""
        if not self._num_rows:
            return []
        named = [f"{key} ({num} rows)" for key, num in sorted(self._num_rows.items())]
        more = [f"and {len(named) - MAX_KEYS_SHOWN} more"] if len(named) > MAX_KEYS_SHOWN else []
        return [f"columns not read: {', '.join(named[:MAX_KEYS_SHOWN] + more)}"]


@dataclass(frozen=True)
class ImportOptions:
    """What a foreign file does not say of itself."""

    audio_root: Path | None = None
    """Folder that relative paths start from and that all audio has to lie in; the file's own folder where none is given."""

    language: str | None = None
    """Of rows that do not tell theirs."""

    split: str = ""
    """Which the rows become; ``import_file`` sets it. A table's rows of other splits are left out."""

    subset: str = ""
    """Which the rows become; ``import_file`` sets it."""

    channel: str = AVERAGE
    """What is taken of audio of several channels: the ``average``, ``left``, ``right``, or ``both`` as two clips."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Column -> label, beside those known by name; an empty label leaves the column out."""

    @property
    def subset_split(self) -> str:
        """The manifest."""
        return f"{self.subset}-{self.split}"

    def cut_id(self, number: int, own: Any = None) -> str:
        """The row's own id, or one made of its number."""
        return f"{self.subset_split}-{number:06d}" if own in (None, "") else str(own)

    def label_language(self) -> dict[str, str]:
        """The label ``language`` where it was given."""
        return {"language": self.language} if self.language else {}


class BadLines:
    """Gathers what is wrong with lines, so that all of it is told at once and nothing is written."""

    def __init__(self) -> None:
        self._sentences: list[str] = []

    @contextmanager
    def noted(self, path: Path, line: int, number: int | None = None) -> Iterator[None]:
        """Note what is wrong while a line is taken, and go on.

        Args:
            number: of the row, where several rows may stand in one line.
        """
        row = "" if number is None else f"row {number}: "
        try:
            yield
        except DataError as error:
            self._sentences.append(f"{path}:{line}: {row}{error}")

    def stop(self) -> None:
        """End the import if there was any.

        Raises:
            DataError: names the first ``MAX_LINES_SHOWN`` of them.
        """
        if not self._sentences:
            return
        if len(self._sentences) == 1:
            raise DataError(self._sentences[0])
        more = len(self._sentences) - MAX_LINES_SHOWN
        told = self._sentences[:MAX_LINES_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        raise DataError(
            f"{len(self._sentences)} lines cannot be imported; correct them or take them out:\n"
            + "\n".join(told)
        )


def for_each_row(path: Path, take: Callable[[int, Row], None], notes: list[str], *, key: str = "") -> None:
    """Give every object of a JSON or JSONL file to ``take``, with its number, from 1.

    Args:
        take: raises a DataError where the row cannot be used.
        notes: gets a sentence about keys that ``take`` did not read.
        key: of the list, where the file is one JSON object that holds it.

    Raises:
        DataError: bad lines, all of them in one message; or there is no row.
    """
    bad = BadLines()
    unread = UnreadKeys()
    number = 0
    for number, (line, text, is_line) in enumerate(_row_texts(path, key), start=1):
        with bad.noted(path, line, None if is_line else number):
            row = _object(text)
            take(number, row)
            unread.add(row)
    bad.stop()
    if not number:
        raise DataError(f"{path} holds no rows; is it the right file?")
    notes += unread.notes()


def refuse_tools(row: Row) -> None:
    """Refuse a row in which tools are described or called, wherever in it.

    Raises:
        DataError: names the key.
    """
    for key, value in row.items():
        if key in TOOL_KEYS and not _is_empty(value) and value is not False:
            raise DataError(
                f"{key!r} describes or calls tools, and only audio and text are learned from; leave the row out"
            )
    for _, inner in row.inner():
        refuse_tools(inner)


def read_lines(path: Path) -> Generator[tuple[int, str], None, None]:
    """Lines that are not blank, with their number.

    Raises:
        DataError: the file is missing, or not UTF-8.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; give a file that is there")
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason}); convert it to UTF-8") from error


def resolve_audio_path(value: Any, folder: Path, options: ImportOptions) -> Path:
    """Where audio that a foreign file names lies.

    Args:
        folder: of the foreign file.

    Raises:
        DataError: no path of a file, a command or a URL, outside the audio root, or missing.
    """
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"the audio is {value!r} -- expected the path of one file; write its path")
    written = value.strip()
    if written.startswith(("|", "pipe:")) or written.endswith("|"):
        raise DataError(
            f"audio {written!r} is a command, and commands are not run; write the audio to a file"
        )
    if "://" in written or written.startswith(("data:", "file:")):
        raise DataError(f"audio {written[:80]!r} is a URL, and URLs are not fetched; download it to a file")
    path = ((options.audio_root or folder) / written).absolute()
    if options.audio_root is not None:
        root = os.path.normpath(options.audio_root.absolute())
        if not Path(os.path.normpath(path)).is_relative_to(root):
            raise DataError(f"audio {written!r} lies outside {root}; choose an audio root that holds it")
    if not path.is_file():
        raise DataError(f"audio {path} is missing; correct the path, or set the audio root it starts from")
    return path


def parse_seconds(name: str, value: Any) -> float:
    """A time in seconds.

    Raises:
        DataError: it is no number of at least zero.
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if isinstance(value, bool) or not 0 <= seconds < float("inf"):
        raise DataError(f"{name} is {value!r} -- expected seconds, 0 or more; correct it")
    return seconds


def refuse_columns(options: ImportOptions, format_name: str) -> None:
    """Say that columns have no meaning in a format.

    Raises:
        DataError: some were given.
    """
    if options.columns:
        raise DataError(
            f"columns {sorted(options.columns)} were given, but format {format_name!r} has none to choose from; leave them out"
        )


def _is_empty(value: Any) -> bool:
    """Whether a key is as good as not there; some write JSON into a text."""
    return value is None or value in ("", "[]", "{}", "null", [], {})


def _object(text: str) -> Row:
    try:
        row = json.loads(text, object_hook=Row)
    except json.JSONDecodeError as error:
        raise DataError(f"this is no JSON ({error.msg}, column {error.colno}); repair the line") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        raise DataError(f"this JSON cannot be read ({error}); repair the line") from error
    if not isinstance(row, Row):
        raise DataError(f"a JSON object was expected and this is {text.strip()[:40]!r}; repair the line")
    if "\\ud" in text.lower():
        _check_characters(row)
    return row


def _check_characters(row: Row) -> None:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"the row holds half of a character ({error.object[error.start]!r}, a lone surrogate); repair the text"
        ) from error


def _row_texts(path: Path, key: str) -> Iterator[tuple[int, str, bool]]:
    """The text of every row with its line: a line, or an element of a list; and which of the two it is."""
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        return
    if not key and not first[1].lstrip().startswith("["):
        yield (*first, True)
        yield from ((*line, True) for line in lines)
        return
    lines.close()
    yield from ((*element, False) for element in _elements(path, key))


def _elements(path: Path, key: str) -> Iterator[tuple[int, str]]:
    text = path.read_text(encoding="utf-8-sig")
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: this is no JSON ({error.msg}); repair the file") from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{path}: this JSON cannot be read ({error}); repair the file") from error
    if key and not (isinstance(whole, dict) and isinstance(whole.get(key), list)):
        raise DataError(f"{path}: expected an object with the list {key!r}; is it a file of another format?")
    begin = re.search(rf'"{key}"\s*:\s*\[', text) if key else re.search(r"\[", text)
    assert begin is not None, "a list that was parsed stands in the text"
    decoder = json.JSONDecoder()
    position, counted, line = begin.end(), 0, 1
    while True:
        gap = _GAP.match(text, position)
        position = gap.end() if gap else position
        if text[position] == "]":
            return
        _, end = decoder.raw_decode(text, position)
        line += text.count("\n", counted, position)
        counted = position
        yield line, text[position:end]
        position = end
