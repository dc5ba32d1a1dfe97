"""Compile a cut-set into an index: the byte offset of every cut in its manifest, and the lengths of its clips.

The arrays are memory-mapped, so millions of lines need no memory. An index is a sealed folder that is compiled again
if its checksums do not match. For Shar and gzip the index has a manifest of its own; for Shar, the audio
of each cut in it is a byte range of a tar. Invalid lines are reported with file and line and left out. Unreadable
audio files are reported, too, but their cuts keep their rows, so that the order of the other cuts does not change.

Shapes: N rows.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from audio_lm.common.audio_units import (
    MAX_SAMPLES,
    MIN_FRAMES,
    SAMPLES_PER_FRAME,
    SAMPLES_PER_SECOND,
    Seconds,
)
from audio_lm.common.errors import DataError
from audio_lm.common.files import write_json
from audio_lm.common.rng import key_of
from audio_lm.common.seals import cached_folder
from audio_lm.data.audio.fingerprints import write_states
from audio_lm.data.cache import writable_cache
from audio_lm.data.manifest import shar
from audio_lm.data.manifest.cuts import check_file
from audio_lm.data.manifest.json_lines import InvalidLineError, NumberedLine
from audio_lm.data.manifest.line import Line, id_in, is_long, read_line, too_long
from audio_lm.data.manifest.sources import OUTSIDE

INDEX_MANIFEST = "cuts.jsonl"
"""Manifest in the index of a Shar or gzip cut-set; of Shar, every recording has the byte range of its audio."""

VERSION = 1  # incremented when the same manifest gives other arrays
LongAudio = Literal["error", "drop", "truncate", "chunk"]
MAX_CHECKED = 20_000
"""Audio files that are checked when a manifest is compiled; if there are more, a fixed subset."""

BYTES_AT_ONCE = 1 << 20  # of whole lines, when a manifest is hashed
MAX_NAMED = 5
MANY_INVALID = 10_000
"""Number of invalid lines after which compiling stops early, if more than half of the lines are invalid."""
FACTS = "index.json"


@dataclass(frozen=True)
class IndexRules:
    """Rules for long, invalid and unreadable audio."""

    long_audio: LongAudio = "error"

    max_bad_fraction: float = 0.001
    """Maximum fraction of invalid lines, and of unreadable audio files."""

    roots: tuple[str, ...] = ()
    """Folders that audio may be in; empty allows any."""


@dataclass(frozen=True)
class InvalidLine:
    """Line that was left out, or whose audio cannot be read."""

    line: int
    cut_id: str
    reason: str
    file: str = ""
    """Name of the file with the line; empty in an index of an earlier release."""


Files = dict[str, tuple[InvalidLine, Seconds]]


@dataclass
class _Rows:
    """Columns of an index while it is compiled."""

    offset: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)  # offset of a chunk in its cut, in samples
    num_samples: list[int] = field(default_factory=list)  # of all clips together
    left_out: list[InvalidLine] = field(default_factory=list)
    num_lines: int = 0
    num_dropped: int = 0  # by long_audio=drop


@dataclass(frozen=True)
class SourceIndex:
    """Index of one cut-set; arrays are memory-mapped."""

    source: str
    manifest: Path
    """File whose lines are read; for Shar and gzip it is in the index."""

    digest: str
    """Of the rows: the lines without the folder of their audio, ``long_audio``, and the lines that ``roots`` excludes."""

    digest_of_file: str
    """Of the file and all rules; identified the rows in earlier releases."""

    offset: np.ndarray[Any, np.dtype[np.int64]]  # (N,) bytes into the manifest
    start: np.ndarray[Any, np.dtype[np.int32]]  # (N,) samples into the cut
    num_samples: np.ndarray[Any, np.dtype[np.int32]]  # (N,) of all clips
    left_out: tuple[InvalidLine, ...]
    unreadable: tuple[InvalidLine, ...]
    """Cuts whose audio cannot be read; they keep their rows, and their conversations have no labels."""

    num_dropped: int

    folder: Path
    """Folder of the index, which also stores the state of the audio files (``audio/fingerprints``)."""

    roots: tuple[str, ...]
    """Folders that audio may be in; empty allows any."""

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def hours(self) -> float:
        """Hours of audio."""
        return float(self.num_samples.sum(dtype=np.int64)) / SAMPLES_PER_SECOND / 3600


def compile_source(cut_set: Path, source: str, rules: IndexRules, *, cache: Path) -> SourceIndex:
    """Load the index of a cut-set; compile it if it is missing or damaged.

    Args:
        cut_set: a manifest, or a folder of Shar.
        source: ``corpus/subset-split``, its name in a recipe.
        cache: folder of all indexes.

    Raises:
        DataError: too many lines are invalid, too many files unreadable, or no cut is usable; names file and line.
    """
    digest, digest_of_rows = _digests_of(cut_set, rules)
    folder = cache / source / (_with_tars(cut_set, digest) if cut_set.is_dir() else digest)[:16]

    def load(found: Path) -> SourceIndex:
        # A file of a sealed folder is missing only while another process replaces it; cached_folder tries again.
        facts = json.loads((found / FACTS).read_bytes())
        return SourceIndex(
            source=source,
            manifest=folder / INDEX_MANIFEST if _needs_index_manifest(cut_set) else cut_set,
            digest=_without_outside(digest_of_rows, facts["left_out"], rules),
            digest_of_file=digest,
            offset=np.load(found / "offset.npy", mmap_mode="r"),
            start=np.load(found / "start.npy", mmap_mode="r"),
            num_samples=np.load(found / "num_samples.npy", mmap_mode="r"),
            left_out=tuple(InvalidLine(**fields) for fields in facts["left_out"]),
            unreadable=tuple(InvalidLine(**fields) for fields in facts["silent"]),
            num_dropped=facts["num_dropped"],
            folder=folder,
            roots=rules.roots,
        )

    with writable_cache(cache):
        return cached_folder(folder, lambda partial: _write(cut_set, source, rules, partial), load)


def _needs_index_manifest(cut_set: Path) -> bool:
    """True for Shar and gzip, of which no single line can be read at an offset."""
    return cut_set.is_dir() or cut_set.suffix == ".gz"


def _digests_of(cut_set: Path, rules: IndexRules) -> tuple[str, str]:
    """Digest of the file with all rules, and digest of its rows, which does not depend on the folder of the cut-set."""
    of_file, of_rows = (
        hashlib.sha256(json.dumps([VERSION, _as_hashed(some)], sort_keys=True).encode())
        for some in (rules, IndexRules(rules.long_audio))
    )
    folder = f"{cut_set.parent.absolute()}/"
    as_json = {json.dumps(folder, ensure_ascii=is_ascii)[1:-1].encode() for is_ascii in (True, False)}
    for path in shar.files_of(cut_set):
        with path.open("rb") as file:
            while lines := b"".join(file.readlines(BYTES_AT_ONCE)):
                of_file.update(lines)
                for prefix in as_json:  # escaped, so it never spans two lines
                    lines = lines.replace(prefix, b"")
                of_rows.update(lines)
    return of_file.hexdigest(), of_rows.hexdigest()


def _as_hashed(rules: IndexRules) -> dict[str, Any]:
    """Rules under their original names: another name would change the digest, and saved runs could not resume."""
    return {"long_clips": rules.long_audio, "max_bad_share": rules.max_bad_fraction, "roots": rules.roots}


def _without_outside(digest: str, left_out: Sequence[Mapping[str, Any]], rules: IndexRules) -> str:
    """Digest of the rows without those whose audio is outside the allowed folders."""
    outside = [fields["line"] for fields in left_out if rules.roots and OUTSIDE in fields["reason"]]
    return hashlib.sha256(f"{digest} {outside}".encode()).hexdigest() if outside else digest


def _with_tars(folder: Path, digest: str) -> str:
    """Digest with path, size and modification time of the tars, on which byte ranges depend."""
    found = [(shard.tar, shard.tar.stat()) for shard in shar.shards_of(folder) if shard.tar]
    tars = [(tar.name, stat.st_size, stat.st_mtime_ns) for tar, stat in found]
    return hashlib.sha256(json.dumps([digest, str(folder.absolute()), tars]).encode()).hexdigest()


def _write(cut_set: Path, source: str, rules: IndexRules, folder: Path) -> None:
    if _needs_index_manifest(cut_set):
        with (folder / INDEX_MANIFEST).open("wb") as copy:
            rows, files = _read_rows(_copy_lines(cut_set, copy), rules)
    else:
        rows, files = _read_rows(_lines(cut_set), rules)
    if not rows.num_lines:
        raise DataError(
            f"cut-set {source!r}: {cut_set} has no cuts; prepare the corpus again or leave the source out"
        )
    if not rows.offset:
        raise DataError(
            f"cut-set {source!r} has no usable cut; it has {rows.num_lines} lines"
            + _first_few(cut_set, rows.left_out)
        )
    _check_fraction(len(rows.left_out), rows.num_lines, rules, "lines", cut_set, rows.left_out)
    unreadable = list(_unreadable(files))
    _check_fraction(len(unreadable), len(files), rules, "audio files", cut_set, unreadable)
    facts = {
        "source": source,
        "num_lines": rows.num_lines,
        "num_dropped": rows.num_dropped,
        "left_out": [asdict(line) for line in rows.left_out],
        "silent": [asdict(line) for line in unreadable],
    }
    np.save(folder / "offset.npy", np.array(rows.offset, dtype=np.int64))
    np.save(folder / "start.npy", np.array(rows.start, dtype=np.int32))
    np.save(folder / "num_samples.npy", np.array(rows.num_samples, dtype=np.int32))
    write_json(folder / FACTS, facts)
    write_states(folder, list(files))


def _read_rows(lines: Iterator[tuple[NumberedLine, int]], rules: IndexRules) -> tuple[_Rows, Files]:
    """Read all rows, and each audio file with the first line that needs it and its length in that line.

    Args:
        lines: each with its offset.
    """
    rows, seen, files = _Rows(), set[int](), Files()
    roots = [Path(root) for root in rules.roots]
    for (path, number, text, _), offset in lines:
        rows.num_lines += 1
        try:
            line = read_line(text, roots=roots)
            if (key := key_of(line.cut_id)) in seen:
                raise InvalidLineError("an earlier line has the same id")
            seen.add(key)
        except InvalidLineError as error:
            rows.left_out.append(InvalidLine(number, id_in(text), str(error), path.name))
            if len(rows.left_out) % MANY_INVALID == 0 and 2 * len(rows.left_out) > rows.num_lines:
                _check_fraction(len(rows.left_out), rows.num_lines, rules, "first lines", path, rows.left_out)
            continue
        _add(rows, line, offset, rules, (path, number))
        for name, seconds in zip(line.files, line.seconds, strict=True):
            if name not in files:
                files[name] = (InvalidLine(number, line.cut_id, name, path.name), seconds)
    return rows, files


def _add(rows: _Rows, line: Line, offset: int, rules: IndexRules, place: tuple[Path, int]) -> None:
    """Add the rows of a line: one, none, or one per chunk, as ``long_audio`` decides.

    Args:
        place: file and line, for messages.
    """
    first, more = sum(line.num_samples[:1]), sum(line.num_samples[1:])
    is_first_long = first > MAX_SAMPLES and max(line.num_samples[1:], default=0) <= MAX_SAMPLES
    if not is_long(line) or (rules.long_audio == "truncate" and is_first_long):
        chunks = [(0, min(first, MAX_SAMPLES) + more)]
    elif rules.long_audio == "error":
        raise DataError(
            f"{_location(place, line)}: {too_long(line)}; cut it, or set long_audio to drop, truncate or chunk"
        )
    elif rules.long_audio == "drop":
        rows.num_dropped += 1
        return
    elif len(line.num_samples) > 1:
        which = "a further clip" if rules.long_audio == "truncate" else "one of several clips"
        raise DataError(
            f"{_location(place, line)}: {too_long(line)}, and long_audio={rules.long_audio} does not apply "
            f"to {which}; set long_audio=drop"
        )
    else:
        starts = range(0, first, MAX_SAMPLES)
        chunks = [(start, min(MAX_SAMPLES, first - start)) for start in starts]
        chunks = [chunk for chunk in chunks if chunk[1] >= MIN_FRAMES * SAMPLES_PER_FRAME]
    for start, count in chunks:
        rows.offset.append(offset)
        rows.start.append(start)
        rows.num_samples.append(count)


def _location(place: tuple[Path, int], line: Line) -> str:
    return f"{place[0]}:{place[1]}: cut {line.cut_id!r}"


def _lines(manifest: Path) -> Iterator[tuple[NumberedLine, int]]:
    """Lines of a manifest, each with its byte offset."""
    offset = 0
    for line in shar.lines_of(manifest):
        yield line, offset
        offset += line.num_bytes


def _copy_lines(cut_set: Path, copy: IO[bytes]) -> Iterator[tuple[NumberedLine, int]]:
    """Copy the lines of a cut-set to a plain manifest; yields each with its byte offset in the copy."""
    for line in shar.lines_of(cut_set):
        yield line, copy.tell()
        copy.write(line.text if line.text.endswith(b"\n") else line.text + b"\n")


def _unreadable(files: Files) -> Iterator[InvalidLine]:
    """Check the audio files, or a fixed subset if there are very many; yields the unreadable ones."""
    chosen = sorted(files)
    if len(chosen) > MAX_CHECKED:
        chosen = sorted(chosen, key=key_of)[:MAX_CHECKED]
    for name in chosen:
        needed_by, seconds = files[name]
        try:
            check_file(name, needed_by.cut_id, seconds)
        except DataError as error:
            yield replace(needed_by, reason=str(error))


def _check_fraction(
    count: int, total: int, rules: IndexRules, what: str, cut_set: Path, invalid: Sequence[InvalidLine]
) -> None:
    if count > rules.max_bad_fraction * total:
        raise DataError(
            f"{count} of {total} {what} of {cut_set} are invalid, over max_bad_fraction={rules.max_bad_fraction:g}; "
            f"repair them, or raise the fraction to leave them out" + _first_few(cut_set, invalid)
        )


def _first_few(cut_set: Path, invalid: Sequence[InvalidLine]) -> str:
    folder = cut_set if cut_set.is_dir() else cut_set.parent
    lines = [
        f"\n  {folder / line.file}:{line.line}: cut {line.cut_id!r}: {line.reason}"
        for line in invalid[:MAX_NAMED]
    ]
    num_more = len(invalid) - MAX_NAMED
    return "".join(lines) + (f"\n  and {num_more} more" if num_more > 0 else "")
