"""Common parts of all imports: options, rows, bad lines reported together, checks of audio paths."""

import json
import os
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from audio_lm.common.errors import DataError
from audio_lm.corpora.channels import AVERAGE
from audio_lm.corpora.imports.bad_lines import BadLines
from audio_lm.corpora.imports.splitting import SplitBy

MAX_KEYS_SHOWN = 20  # of unread keys in a note
DROP_TOOLS = "drop"
TOOL_KEYS = frozenset({"tools", "tool_calls", "function_call", "functions"})
_GAP = re.compile(r"[\s,]*")


class Row(dict[str, Any]):
    """JSON object of an imported file that tracks which of its keys are read; nested objects are rows too."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Value of a key; marks the key as read."""
        self.read.add(key)
        return super().get(key, default)

    def skip(self, keys: Iterable[str] | None = None) -> None:
        """Mark keys, or all of them, as left out on purpose."""
        self.read.update(self if keys is None else keys)

    def inner_rows(self) -> Iterator[tuple[str, "Row"]]:
        """Directly nested rows with their keys: ``a``, or ``a[]`` for items of a list."""
        for key, value in self.items():
            if isinstance(value, Row):
                yield key, value
            elif isinstance(value, list):
                yield from ((f"{key}[]", item) for item in value if isinstance(item, Row))

    def unread(self) -> set[str]:
        """Keys with a value that were not read, including those of nested rows that were read in part."""
        keys = {key for key, value in self.items() if key not in self.read and not is_empty(value)}
        for key, row in self.inner_rows():
            if row.read and key.removesuffix("[]") in self.read:
                keys |= {f"{key}.{inner}" for inner in row.unread()}
        return keys


class UnreadKeys:
    """Count rows by the keys that an import did not read, so that nothing is dropped silently."""

    def __init__(self) -> None:
        self._num_rows: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        """Count an imported row."""
        self._num_rows.update(row.unread())

    def notes(self) -> list[str]:
        """One sentence; empty if everything was read."""
        if not self._num_rows:
            return []
        counts = [f"{key} ({num} rows)" for key, num in sorted(self._num_rows.items())]
        more = [f"and {len(counts) - MAX_KEYS_SHOWN} more"] if len(counts) > MAX_KEYS_SHOWN else []
        return [f"columns not read: {', '.join(counts[:MAX_KEYS_SHOWN] + more)}"]


@dataclass(frozen=True)
class ImportOptions:
    """Settings that the imported file does not contain."""

    audio_root: Path | None = None
    """Base of relative paths, and folder that has to contain all audio; if None, paths start from the file's folder."""

    language: str | None = None
    """Language of rows without one."""

    split: str = ""
    """Split of the manifest, set by ``import_file``. A table's rows of other splits are left out."""

    subset: str = ""
    """Subset of the manifest, set by ``import_file``."""

    channel: str = AVERAGE
    """Channel selection: ``average``, ``left``, ``right``, or ``both`` as two clips."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Column -> label, in addition to known names; an empty label leaves the column out."""

    skip_bad: int = 0
    """Bad rows that are left out and counted; with more, nothing is imported."""

    split_by: SplitBy | None = None
    """Division of the clips into splits; without it, all are of ``split``."""

    trim: bool = False
    """Of Lhotse's cuts: one clip of each supervision."""

    supervisions: Path | None = None
    """Of Lhotse's recordings: their supervisions, if the name of the file is not the usual one."""

    tars: str = ""
    """Of NeMo's tarred manifests: folder or pattern of the tars."""

    dataset_split: str = ""
    """Of a Hugging Face dataset: its split, if it is not named like that of the manifest."""

    tools: str = ""
    """Of conversations: ``drop`` leaves out turns that call tools or are theirs; otherwise their rows are refused."""

    data_dir: Path = Path("data")
    """Folder of cut-sets that dialogues refer to, set by ``import_file``."""

    config: str = ""
    """Of a Hugging Face dataset: its configuration, such as a language."""

    revision: str = ""
    """Of a dataset of the Hugging Face Hub: branch, tag or commit."""

    @property
    def subset_split(self) -> str:
        """Name of the manifest."""
        return f"{self.subset}-{self.split}"

    def cut_id(self, number: int, own: Any = None) -> str:
        """Id of the row, or one derived from its number."""
        return f"{self.subset_split}-{number:06d}" if own in (None, "") else str(own)

    def label_language(self) -> dict[str, str]:
        """Label ``language``; empty if not given."""
        return {"language": self.language} if self.language else {}


class ImportRow(Protocol):
    """Reader of one row of a file."""

    def __call__(self, number: int, row: Row, /) -> object:
        """Import a row; numbers start at 1."""


def for_each_row(
    path: Path | Sequence[Path],
    import_row: ImportRow,
    notes: list[str],
    *,
    key: str = "",
    bad: BadLines | None = None,
) -> None:
    """Call ``import_row`` with number (from 1) and object of each row of a JSON or JSONL file.

    Args:
        path: of the file, or of several whose rows are numbered in sequence.
        import_row: raises DataError for an unusable row.
        notes: extended by a sentence about unread keys.
        key: of the list of rows, if the file is a JSON object.
        bad: collects the errors of rows; without it, none is allowed.

    Raises:
        DataError: bad lines, all in one message; or there are no rows.
    """
    bad = BadLines() if bad is None else bad
    unread = UnreadKeys()
    number = 0
    paths = [path] if isinstance(path, Path) else path
    rows = ((place, *row) for place in paths for row in _row_texts(place, key))
    for number, (place, line, text, is_line) in enumerate(rows, start=1):
        with bad.collect(place, line, None if is_line else number):
            row = _parse_row(text)
            import_row(number, row)
            unread.add(row)
    bad.raise_errors()
    if not number:
        raise DataError(f"{paths[0]} has no rows; is it the right file?")
    notes += unread.notes()


def read_lines(path: Path) -> Generator[tuple[int, str], None, None]:
    """Yield the lines that are not blank, with their number.

    Raises:
        DataError: the file is missing, or not UTF-8.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; give an existing file")
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason}); convert it to UTF-8") from error


def resolve_audio_path(value: Any, folder: Path, options: ImportOptions) -> Path:
    """Absolute path of an audio file in an imported row.

    Args:
        folder: of the imported file.

    Raises:
        DataError: the value is no path, a command or a URL, or the file is outside the audio root or missing.
    """
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"the audio is {value!r} -- expected the path of one file; correct it")
    text = value.strip()
    if text.startswith(("|", "pipe:")) or text.endswith("|"):
        raise DataError(f"audio {text!r} is a command, and commands are not run; write the audio to a file")
    if "://" in text or text.startswith(("data:", "file:")):
        raise DataError(f"audio {text[:80]!r} is a URL, and URLs are not downloaded; download it to a file")
    path = ((options.audio_root or folder) / text).absolute()
    if options.audio_root is not None:
        root = os.path.normpath(options.audio_root.absolute())
        if not Path(os.path.normpath(path)).is_relative_to(root):
            raise DataError(f"audio {text!r} is outside {root}; choose an audio root that contains it")
    if not path.is_file():
        raise DataError(f"audio {path} is missing; correct the path, or set the audio root")
    return path


def parse_seconds(name: str, value: Any) -> float:
    """Parse a time in seconds.

    Raises:
        DataError: it is not a number of at least zero.
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if isinstance(value, bool) or not 0 <= seconds < float("inf"):
        raise DataError(f"{name} is {value!r} -- expected seconds, 0 or more; correct it")
    return seconds


def refuse_columns(options: ImportOptions, format_name: str) -> None:
    """Refuse the option ``columns`` for a format without columns.

    Raises:
        DataError: columns were given.
    """
    if options.columns:
        raise DataError(
            f"columns {sorted(options.columns)} were given, but format {format_name!r} has no columns; omit them"
        )


def is_empty(value: Any) -> bool:
    """True if a value counts as absent; some files contain JSON as text."""
    return value is None or value in ("", "[]", "{}", "null", [], {})


def _parse_row(text: str) -> Row:
    try:
        row = json.loads(text, object_hook=Row)
    except json.JSONDecodeError as error:
        raise DataError(f"this is not JSON ({error.msg}, column {error.colno}); repair the line") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        raise DataError(f"this JSON cannot be read ({error}); repair the line") from error
    if not isinstance(row, Row):
        raise DataError(f"{text.strip()[:40]!r} -- expected a JSON object; repair the line")
    if "\\ud" in text.lower():
        _check_characters(row)
    return row


def _check_characters(row: Row) -> None:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"the row contains half of a character ({error.object[error.start]!r}, a lone surrogate); repair the text"
        ) from error


def _row_texts(path: Path, key: str) -> Iterator[tuple[int, str, bool]]:
    """Yield line number and text of each row, and whether the row is a line (else an item of a list)."""
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        return
    if not key and not first[1].lstrip().startswith("["):
        yield (*first, True)
        yield from ((*line, True) for line in lines)
        return
    lines.close()
    yield from ((*item, False) for item in list_items(path, key))


def list_items(path: Path, key: str = "") -> Iterator[tuple[int, str]]:
    """Yield line number and text of each item of a JSON list.

    Args:
        key: of the list, if the file is a JSON object.

    Raises:
        DataError: the file is not JSON, or there is no such list.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason}); convert it to UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: this is not JSON ({error.msg}); repair the file") from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{path}: this JSON cannot be read ({error}); repair the file") from error
    if key and not (isinstance(content, dict) and isinstance(content.get(key), list)):
        raise DataError(f"{path}: expected an object with the list {key!r}; is the file in another format?")
    if not key and not isinstance(content, list):
        raise DataError(f"{path}: expected a list of objects; is the file in another format?")
    start = re.search(rf'"{key}"\s*:\s*\[', text) if key else re.search(r"\[", text)
    assert start is not None, "the parsed list is in the text"
    decoder = json.JSONDecoder()
    position, counted, line = start.end(), 0, 1
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
