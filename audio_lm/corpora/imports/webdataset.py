"""WebDataset: samples in tars, consecutive members ``key.flac``, ``key.json``, ``key.txt`` ...; a clip is a byte range.

Nothing is copied or unpacked. The fields of ``.json`` are columns; ``.txt`` is the column ``text``, ``.lang`` the column
``language``, and every other text member a column with the name of its extension.

Source: webdataset/webdataset, README.md ("The WebDataset Format") and src/webdataset/tariterators.py
(base_plus_ext, group_by_keys).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.bad_lines import BadLines
from audio_lm.corpora.imports.common import ImportOptions, Row
from audio_lm.corpora.imports.table import AUDIO, import_rows
from audio_lm.corpora.imports.writer import ImportWriter
from audio_lm.data.manifest.shar import ByteRange, members_in

NAME = "webdataset"
AUDIO_EXTENSIONS = ("wav", "flac", "mp3", "ogg", "opus", "m4a", "aac", "aiff", "webm")
COLUMN_OF_EXTENSION = {"txt": "text", "lang": "language"}
TEXT_EXTENSIONS = ("txt", "lang", "cls", "transcript", "transcription", "normalized_text")
JSON = "json"
UNREAD = ("not read",)  # value of members that are no audio, text or JSON: no label, so that they are counted
MAX_TEXT_BYTES = 1 << 20
MAX_TARS = 100_000
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass
class Sample:
    """Consecutive members of a tar with the same key."""

    tar: Path
    number: int
    """In its tar, from 1."""

    key: str
    members: dict[str, ByteRange] = field(default_factory=dict)
    """By extension, in lower case."""

    fault: str = ""


def read(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import tars: a folder of them, one, or a pattern such as ``shards/{000000..000009}.tar`` or ``shards/*.tar``.

    Raises:
        DataError: a tar is missing, there is no audio, or bad samples, all in one message.
    """
    if options.audio_root is not None:
        raise DataError(f"an audio root was given, but the audio of {path} is in tars; omit it")
    given = [column for column, label in options.columns.items() if label == AUDIO]
    rows: list[tuple[Path, int, Row]] = []
    tars_of_key: dict[str, set[Path]] = {}
    for tar in find_tars(path):
        for sample in samples_in(tar, writer.bad):
            with writer.bad.collect(tar, sample.number):
                rows.append((tar, sample.number, _row(sample, given)))
                tars_of_key.setdefault(sample.key, set()).add(tar)
    if not rows:
        writer.bad.raise_errors()
        raise DataError(f"{path} has no samples; is it the right folder?")
    if any(len(tars) > 1 for tars in tars_of_key.values()):  # keys that start anew in every tar
        for tar, _, row in rows:
            row["id"] = f"{tar.stem}/{row['id']}"
    import_rows(path, rows, writer, options)


def find_tars(path: Path) -> list[Path]:
    """Tars of a folder, a path, or a pattern with braces and wildcards.

    Raises:
        DataError: there is none, or a URL or command was given.

    >>> [place.name for place in _expand_braces("a-{08..11}.tar")]
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'a-11.tar']
    """
    text = str(path)
    if re.match(r"\w+:/|pipe:", text):
        raise DataError(f"{text!r} is a URL or a command, which is not read; download the tars to a folder")
    if path.is_dir():
        found = sorted(path.glob("*.tar"))
    elif path.exists():
        found = [path]
    else:
        found = []
        for place in _expand_braces(text):
            found += map(Path, sorted(glob(str(place)))) if has_magic(str(place)) else [place]
    if not found:
        raise DataError(f"{path} has no .tar; give a folder, or a pattern such as 'shards/{{000..009}}.tar'")
    if missing := [place for place in found if not place.is_file()]:
        raise DataError(
            f"{len(missing)} of the {len(found)} tars of {text!r} are missing, such as {missing[0]}; correct the pattern"
        )
    return [place.absolute() for place in found]


def _expand_braces(text: str) -> list[Path]:
    """Paths of a pattern with ``{first..last}`` or ``{a,b}``, as a shell expands it."""
    match = BRACES.search(text)
    if match is None:
        return [Path(text)]
    numbers = RANGE.fullmatch(match[1])
    choices = match[1].split(",")
    if numbers is not None:
        first, last = numbers.groups()
        if not 0 <= int(last) - int(first) < MAX_TARS:
            raise DataError(
                f"{text!r} has the tars {first} to {last} -- expected at most {MAX_TARS}; correct it"
            )
        width = len(first) if first.startswith("0") else 1
        choices = [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    head, tail = text[: match.start()], text[match.end() :]
    return [path for choice in choices for path in _expand_braces(head + choice + tail)]


def samples_in(tar: Path, bad: BadLines) -> Iterator[Sample]:
    """Samples of a tar, in order; a tar that is truncated ends early, and is recorded as a bad line.

    Args:
        bad: records a fault of the tar.
    """
    sample: Sample | None = None
    seen = set[str]()
    number = 0
    with bad.collect(tar, 0):
        for name, byte_range in members_in(tar):
            key, extension = _split_name(name)
            if not extension or PurePosixPath(name).name.startswith("."):
                continue
            if sample is None or sample.key != key:
                if sample is not None:
                    yield sample
                number += 1
                sample = Sample(tar, number, key, fault=_fault(name, key, seen))
                seen.add(key)
            if extension in sample.members:
                sample.fault = f"it has two members {name!r}; remove one"
            sample.members[extension] = byte_range
    if sample is not None:
        yield sample


def _split_name(name: str) -> tuple[str, str]:
    """Key and extension: the name of a member up to the first dot of its last part, and the rest."""
    folder, slash, last = name.removeprefix("./").rpartition("/")
    stem, _, extension = last.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


def _fault(name: str, key: str, seen: set[str]) -> str:
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        return f"the name of member {name!r} leads out of the tar; write the tar with relative names"
    return (
        "its key came before, and is not unique; sort the members of the tar by name" if key in seen else ""
    )


def _row(sample: Sample, given: list[str]) -> Row:
    """Columns of a sample.

    Args:
        given: extension of the audio, if the user chose one.

    Raises:
        DataError: the sample has no audio or several, or a member cannot be read.
    """
    if sample.fault:
        raise DataError(f"sample {sample.key!r}: {sample.fault}")
    audio = [name for name in sample.members if name.rpartition(".")[2] in AUDIO_EXTENSIONS]
    chosen = [name for name in audio if name in given] if given else audio
    if len(chosen) != 1:
        raise DataError(
            f"sample {sample.key!r} has the audio {chosen} and the members {sorted(sample.members)} -- expected one of "
            f"{', '.join(AUDIO_EXTENSIONS)}; add it, or choose one with --audio-column"
        )
    row = _columns(sample)
    if (own := row.pop("id", None)) not in (None, sample.key):
        row["id in .json"] = own  # counted as not read
    return Row({**row, "id": sample.key, given[0] if given else AUDIO: Path(str(sample.members[chosen[0]]))})


def _columns(sample: Sample) -> dict[str, Any]:
    """Columns of the members of a sample that are no audio."""
    columns: dict[str, Any] = {}
    if JSON in sample.members:
        columns |= _parse_json(sample, sample.members[JSON])
    for extension, byte_range in sample.members.items():
        if extension in TEXT_EXTENSIONS:
            column = COLUMN_OF_EXTENSION.get(extension, extension)
            text = _read_text(sample, extension, byte_range).strip()
            columns[extension if column in columns else column] = text
        elif extension != JSON and extension.rpartition(".")[2] not in AUDIO_EXTENSIONS:
            columns[extension] = UNREAD
    return columns


def _parse_json(sample: Sample, byte_range: ByteRange) -> Mapping[str, Any]:
    try:
        content = json.loads(_read_text(sample, JSON, byte_range))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"sample {sample.key!r}: its .json cannot be read ({error}); correct it") from error
    if not isinstance(content, dict):
        raise DataError(
            f"sample {sample.key!r}: its .json is a {type(content).__name__} -- expected an object; correct it"
        )
    return content


def _read_text(sample: Sample, extension: str, byte_range: ByteRange) -> str:
    if byte_range.num_bytes > MAX_TEXT_BYTES:
        raise DataError(
            f"sample {sample.key!r}: its .{extension} has {byte_range.num_bytes} bytes -- expected at most "
            f"{MAX_TEXT_BYTES}; remove it"
        )
    try:
        return byte_range.read().getvalue().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"sample {sample.key!r}: its .{extension} is not UTF-8 ({error.reason}); convert it to UTF-8"
        ) from error
