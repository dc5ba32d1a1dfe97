"""A cut-set compiled once: where every cut stands in its manifest, and how long its clips are.

Arrays are memory-mapped, so a million lines cost a process nothing. An index is a sealed
folder: one that does not hold is compiled again. Shar
gets a manifest of its own, in which the audio of every cut is a stretch of a tar.
Lines that cannot be used are named with file and line and left out; audio
files that cannot be opened are named too, but their cuts keep their place,
so that the order of all others does not change when a file breaks.

Shapes: N rows.
"""

import hashlib
import json
from collections import Counter
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
from audio_lm.common.runtime import key_of
from audio_lm.common.seals import kept_folder
from audio_lm.data.audio.fingerprints import write_states
from audio_lm.data.cache import writable_cache
from audio_lm.data.manifest import shar
from audio_lm.data.manifest.cuts import check_file
from audio_lm.data.manifest.json_lines import InvalidLineError, NumberedLine
from audio_lm.data.manifest.line import Line, id_in, is_long, read_line, too_long
from audio_lm.data.manifest.sources import OUTSIDE

INDEX_MANIFEST = "cuts.jsonl"
"""In the index of Shar: its lines, every recording with the place of its bytes."""

VERSION = 1  # raised whenever the same manifest gives other arrays
LongAudio = Literal["error", "drop", "truncate", "chunk"]
MAX_CHECKED = 20_000
"""Audio files whose header is read when a manifest is compiled; of more, a fixed choice."""

MAX_NAMED = 5
MANY_UNFIT = 10_000
"""Unfit lines after which a manifest is not read to its end, if most of it is unfit."""
FACTS = "index.json"


@dataclass(frozen=True)
class IndexRules:
    """What becomes of the lines of a manifest."""

    long_audio: LongAudio = "error"

    max_bad_fraction: float = 0.001
    """Share of lines, or of audio files, that may be unfit before nothing is compiled."""

    roots: tuple[str, ...] = ()
    """Folders that audio may lie in; none allows any."""


@dataclass(frozen=True)
class InvalidLine:
    """A line that was left out, or whose audio cannot be read."""

    line: int
    cut_id: str
    reason: str
    file: str = ""
    """That holds the line; an index of old does not say."""


Files = dict[str, tuple[InvalidLine, Seconds]]


@dataclass
class _Rows:
    """What is gathered line by line."""

    offset: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)  # samples into the cut, where it is heard in chunks
    num_samples: list[int] = field(default_factory=list)  # of all clips together
    left_out: list[InvalidLine] = field(default_factory=list)
    num_lines: int = 0
    num_dropped: int = 0  # by the rule for long clips


@dataclass(frozen=True)
class SourceIndex:
    """The rows of one cut-set; arrays are memory-mapped."""

    source: str
    manifest: Path
    """Whose lines are read; of Shar the one that was made when it was compiled."""

    digest: str
    """Of the rows: the lines less the folder of their audio, the rule for long clips, the lines that ``roots`` leaves out."""

    digest_of_file: str
    """Of the file and all rules, by which earlier releases named the rows."""

    offset: np.ndarray[Any, np.dtype[np.int64]]  # (N,) bytes into the manifest
    start: np.ndarray[Any, np.dtype[np.int32]]  # (N,) samples into the cut
    num_samples: np.ndarray[Any, np.dtype[np.int32]]  # (N,) of all clips
    left_out: tuple[InvalidLine, ...]
    unreadable: tuple[InvalidLine, ...]
    """Cuts whose audio could not be opened; they keep their place and are heard with weight 0."""

    num_dropped: int

    folder: Path
    """Where it is kept, with what its audio files were when they were looked at."""

    roots: tuple[str, ...]
    """Folders that audio may lie in; none allows any."""

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def hours(self) -> float:
        """Of audio."""
        return float(self.num_samples.sum(dtype=np.int64)) / SAMPLES_PER_SECOND / 3600


def compile_source(cut_set: Path, source: str, rules: IndexRules, *, cache: Path) -> SourceIndex:
    """The index of a cut-set, made unless it is there.

    Args:
        cut_set: a manifest, or a folder of Shar.
        source: ``corpus/subset-split``, its name in a recipe.
        cache: folder of all indexes.

    Raises:
        DataError: too many lines or files are unfit, or none is fit; names file and line.
    """
    digest, digest_of_rows = _digests_of(cut_set, rules)
    folder = cache / source / (_with_tars(cut_set, digest) if cut_set.is_dir() else digest)[:16]

    def load(there: Path) -> SourceIndex:
        # sealed, so it is absent only while another process replaces it: kept_folder tries again
        facts = json.loads((there / FACTS).read_bytes())
        return SourceIndex(
            source=source,
            manifest=folder / INDEX_MANIFEST if _needs_index_manifest(cut_set) else cut_set,
            digest=_less_outside(digest_of_rows, facts["left_out"], rules),
            digest_of_file=digest,
            offset=np.load(there / "offset.npy", mmap_mode="r"),
            start=np.load(there / "start.npy", mmap_mode="r"),
            num_samples=np.load(there / "num_samples.npy", mmap_mode="r"),
            left_out=tuple(InvalidLine(**one) for one in facts["left_out"]),
            unreadable=tuple(InvalidLine(**one) for one in facts["silent"]),
            num_dropped=facts["num_dropped"],
            folder=folder,
            roots=rules.roots,
        )

    with writable_cache(cache):
        return kept_folder(folder, lambda partial: _write(cut_set, source, rules, partial), load)


def _needs_index_manifest(cut_set: Path) -> bool:
    """Whether a manifest of its own is made: of Shar and of what is packed, where no line can be read in its place."""
    return cut_set.is_dir() or cut_set.suffix == ".gz"


def _digests_of(cut_set: Path, rules: IndexRules) -> tuple[str, str]:
    """Digests of the file with all rules, and of its rows wherever the folder with their audio lies."""
    of_file, of_rows = (
        hashlib.sha256(json.dumps([VERSION, _hashed(some)], sort_keys=True).encode())
        for some in (rules, IndexRules(rules.long_audio))
    )
    here = f"{cut_set.parent.absolute()}/"
    written = {json.dumps(here, ensure_ascii=is_ascii)[1:-1].encode() for is_ascii in (True, False)}
    for path in shar.files_of(cut_set):
        with path.open("rb") as file:
            for line in file:
                of_file.update(line)
                for folder in written:
                    line = line.replace(folder, b"")
                of_rows.update(line)
    return of_file.hexdigest(), of_rows.hexdigest()


def _hashed(rules: IndexRules) -> dict[str, Any]:
    """Rules under the names that they had first: another name would be another digest, and a run could not go on."""
    return {"long_clips": rules.long_audio, "max_bad_share": rules.max_bad_fraction, "roots": rules.roots}


def _less_outside(digest: str, left_out: Sequence[Mapping[str, Any]], rules: IndexRules) -> str:
    """The digest of rows of which those outside the allowed folders are missing."""
    outside = [one["line"] for one in left_out if rules.roots and OUTSIDE in one["reason"]]
    return hashlib.sha256(f"{digest} {outside}".encode()).hexdigest() if outside else digest


def _with_tars(folder: Path, digest: str) -> str:
    """What decides whether stretches of tars are still where they were found."""
    found = [(shard.tar, shard.tar.stat()) for shard in shar.shards_of(folder) if shard.tar]
    tars = [(tar.name, stat.st_size, stat.st_mtime_ns) for tar, stat in found]
    return hashlib.sha256(json.dumps([digest, str(folder.absolute()), tars]).encode()).hexdigest()


def _write(cut_set: Path, source: str, rules: IndexRules, folder: Path) -> None:
    if _needs_index_manifest(cut_set):
        with (folder / INDEX_MANIFEST).open("wb") as filled:
            rows, files = _gather(_lines_filled(cut_set, filled), rules)
    else:
        rows, files = _gather(_lines(cut_set), rules)
    if not rows.num_lines:
        raise DataError(
            f"cut-set {source!r}: {cut_set} holds no cuts; prepare the corpus again or leave the source out"
        )
    if not rows.offset:
        raise DataError(
            f"cut-set {source!r} has no usable cut; it has {rows.num_lines} lines"
            + _named(cut_set, rows.left_out)
        )
    _check_share(len(rows.left_out), rows.num_lines, rules, "lines", cut_set, rows.left_out)
    silent = list(_unreadable(files))
    _check_share(len(silent), len(files), rules, "audio files", cut_set, silent)
    facts = {
        "source": source,
        "num_lines": rows.num_lines,
        "num_dropped": rows.num_dropped,
        "left_out": [asdict(one) for one in rows.left_out],
        "silent": [asdict(one) for one in silent],
    }
    np.save(folder / "offset.npy", np.array(rows.offset, dtype=np.int64))
    np.save(folder / "start.npy", np.array(rows.start, dtype=np.int32))
    np.save(folder / "num_samples.npy", np.array(rows.num_samples, dtype=np.int32))
    write_json(folder / FACTS, facts)
    write_states(folder, list(files))


def _gather(lines: Iterator[tuple[NumberedLine, int]], rules: IndexRules) -> tuple[_Rows, Files]:
    """All rows, and each audio file with the first line that needs it and its length there.

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
                raise InvalidLineError("the id came before")
            seen.add(key)
        except InvalidLineError as error:
            rows.left_out.append(InvalidLine(number, id_in(text), str(error), path.name))
            if len(rows.left_out) % MANY_UNFIT == 0 and 2 * len(rows.left_out) > rows.num_lines:
                _check_share(len(rows.left_out), rows.num_lines, rules, "first lines", path, rows.left_out)
            continue
        _add(rows, line, offset, rules, (path, number))
        for name, seconds in zip(line.files, line.seconds, strict=True):
            if name not in files:
                files[name] = (InvalidLine(number, line.cut_id, name, path.name), seconds)
    return rows, files


def _add(rows: _Rows, line: Line, offset: int, rules: IndexRules, place: tuple[Path, int]) -> None:
    """One row, or as many as the rule for long clips makes of it.

    Args:
        place: file and line, for messages.
    """
    first, more = sum(line.num_samples[:1]), sum(line.num_samples[1:])
    is_first_long = first > MAX_SAMPLES and max(line.num_samples[1:], default=0) <= MAX_SAMPLES
    if not is_long(line) or (rules.long_audio == "truncate" and is_first_long):
        pieces = [(0, min(first, MAX_SAMPLES) + more)]
    elif rules.long_audio == "error":
        raise DataError(
            f"{_where(place, line)}: {too_long(line)}; cut it, or set long_audio to drop, truncate or chunk"
        )
    elif rules.long_audio == "drop":
        rows.num_dropped += 1
        return
    elif len(line.num_samples) > 1:
        whose = "a further clip" if rules.long_audio == "truncate" else "one of several clips"
        raise DataError(
            f"{_where(place, line)}: {too_long(line)}, and long_audio={rules.long_audio} does nothing "
            f"with {whose}; set long_audio=drop"
        )
    else:
        starts = range(0, first, MAX_SAMPLES)
        pieces = [(start, min(MAX_SAMPLES, first - start)) for start in starts]
        pieces = [piece for piece in pieces if piece[1] >= MIN_FRAMES * SAMPLES_PER_FRAME]
    for start, count in pieces:
        rows.offset.append(offset)
        rows.start.append(start)
        rows.num_samples.append(count)


def _where(place: tuple[Path, int], line: Line) -> str:
    return f"{place[0]}:{place[1]}: cut {line.cut_id!r}"


def _lines(manifest: Path) -> Iterator[tuple[NumberedLine, int]]:
    """Every line and its offset."""
    offset = 0
    for line in shar.lines_of(manifest):
        yield line, offset
        offset += line.num_bytes


def _lines_filled(cut_set: Path, filled: IO[bytes]) -> Iterator[tuple[NumberedLine, int]]:
    """Every line and its offset in the manifest that is written on the way."""
    for line in shar.lines_of(cut_set):
        yield line, filled.tell()
        filled.write(line.text if line.text.endswith(b"\n") else line.text + b"\n")


def _unreadable(files: Files) -> Iterator[InvalidLine]:
    """Look at the files, or of very many always at the same ones."""
    chosen = sorted(files)
    if len(chosen) > MAX_CHECKED:
        chosen = sorted(chosen, key=key_of)[:MAX_CHECKED]
    for name in chosen:
        needed_by, seconds = files[name]
        try:
            check_file(name, needed_by.cut_id, seconds)
        except DataError as error:
            yield replace(needed_by, reason=str(error))


def _check_share(
    count: int, total: int, rules: IndexRules, what: str, cut_set: Path, unfit: Sequence[InvalidLine]
) -> None:
    if count > rules.max_bad_fraction * total:
        raise DataError(
            f"{count} of {total} {what} of {cut_set} are unfit, over max_bad_fraction={rules.max_bad_fraction:g}; "
            f"repair them, or raise the share to leave them out" + _named(cut_set, unfit)
        )


def _named(cut_set: Path, unfit: Sequence[InvalidLine]) -> str:
    folder = cut_set if cut_set.is_dir() else cut_set.parent
    lines = [
        f"\n  {folder / one.file}:{one.line}: cut {one.cut_id!r}: {one.reason}" for one in unfit[:MAX_NAMED]
    ]
    kinds = Counter(one.reason.split(" ")[0] for one in unfit[MAX_NAMED:])
    return "".join(lines) + (f"\n  and {sum(kinds.values())} more" if kinds else "")
