"""Cut-sets in Lhotse's Shar format: lines in ``cuts.*.jsonl.gz``, audio in ``recording.*.tar``.

Tars are never extracted, so no member can be written outside its folder. The headers of a tar are scanned once, when
its cut-set is compiled; after that a clip is a byte range of the tar, and is read directly.

Source: lhotse 1.33, ``shar/readers/tar.py``: every cut has two members, audio and manifest, in the order of the cuts.
"""

import json
import os
import re
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.json_lines import InvalidLineError, NumberedLine, lines_in, parse_line, short_repr

CUTS = re.compile(r"cuts(?P<shard>(?:\.[^.]+)?)\.jsonl(?:\.gz)?")
AUDIO = re.compile(r"(?P<field>recording|audio_\d+)(?P<shard>(?:\.[^.]+)?)\.tar(?:\..+)?")
BYTE_RANGE = re.compile(r"(?P<tar>.+\.tar)@(?P<start>[0-9]{1,15})\+(?P<num_bytes>[0-9]{1,15})", re.DOTALL)
MAX_MANIFEST_BYTES = 1 << 20  # of the manifest of one recording


class ByteRange(NamedTuple):
    """Byte range of a tar with an audio file; as text it is the source of a recording of type ``shar``."""

    tar: Path
    start: int
    num_bytes: int

    def __str__(self) -> str:
        return f"{self.tar}@{self.start}+{self.num_bytes}"

    @classmethod
    def of(cls, text: str) -> "ByteRange | None":
        """Parse a byte range; None if the text is not one.

        >>> ByteRange.of("/data/mine/all-train/recording.000000.tar@512+27768").start
        512
        """
        found = BYTE_RANGE.fullmatch(text)
        return cls(Path(found["tar"]), int(found["start"]), int(found["num_bytes"])) if found else None

    def read(self) -> BytesIO:
        """Read the bytes; fewer if the tar was truncated, which the decoder then reports."""
        with self.tar.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = file.seek(min(self.start, size))
            return BytesIO(file.read(min(self.num_bytes, size - start)))


class Shard(NamedTuple):
    """A file of lines and its tar of audio."""

    cuts: Path
    tar: Path | None
    """None if no shard has a tar: the cuts have text only, or separate audio files."""


class Member(NamedTuple):
    """Audio of a cut in a tar, with its recording manifest."""

    cut_id: str
    name: str
    recording: dict[str, Any] | None  # None for a cut without audio


def is_shar(folder: Path) -> bool:
    """True if a folder is a cut-set in Shar format."""
    return folder.is_dir() and any(CUTS.fullmatch(path.name) for path in folder.iterdir())


def files_of(cut_set: Path) -> list[Path]:
    """Files with the lines of a cut-set: its manifest, or those of its shards."""
    return [shard.cuts for shard in shards_of(cut_set)] if cut_set.is_dir() else [cut_set]


def shards_of(folder: Path) -> list[Shard]:
    """Shards of a cut-set, in order.

    Raises:
        DataError: a tar without cuts or cuts without a tar, or a tar that cannot be read at an offset.
    """
    cuts, tars = dict[str, Path](), dict[str, Path]()
    for path in sorted(folder.iterdir()):
        if found := CUTS.fullmatch(path.name):
            cuts[found["shard"]] = path
        elif found := AUDIO.fullmatch(path.name):
            _check_tar(path, found["field"])
            tars[found["shard"]] = path
    for shard in sorted(tars.keys() - cuts.keys()):
        raise DataError(f"{tars[shard]}: cuts{shard}.jsonl.gz is missing; export the cut-set again")
    for shard in sorted(cuts.keys() - tars.keys()) if tars else ():
        raise DataError(
            f"{cuts[shard]}: recording{shard}.tar is missing; export the cut-set again with its audio"
        )
    return [Shard(path, tars.get(shard)) for shard, path in cuts.items()]


def _check_tar(tar: Path, field: str) -> None:
    if not tar.is_file():
        raise DataError(f"{tar} is not a file, or a broken link; copy it again")
    if tar.suffix != ".tar":
        raise DataError(f"{tar} is compressed, so no clip can be read at an offset; unpack it to .tar")
    if field != "recording":
        raise DataError(
            f"{tar}: Lhotse cuts {field} to the length of the first clip when it writes Shar; "
            f"keep conversations of several clips in a plain manifest"
        )


def lines_of(cut_set: Path) -> Iterator[NumberedLine]:
    """Iterate over the lines of a cut-set; of Shar, with the byte range of the audio as recording.

    Raises:
        DataError: lines and audio do not match, or a file is damaged; names file and member.
    """
    if not cut_set.is_dir():
        yield from lines_in(cut_set)
        return
    for shard in shards_of(cut_set):
        if shard.tar is None:
            yield from lines_in(shard.cuts)
        else:
            yield from _lines_with_audio(shard.cuts, shard.tar)


def _lines_with_audio(cuts: Path, tar: Path) -> Iterator[NumberedLine]:
    members, number = members_of(tar), 0
    for line in lines_in(cuts):
        number = line.number
        text = _with_recording(line.text, next(members, None), f"{tar}", f"{cuts.name}:{number}")
        yield line._replace(text=text)
    if extra := next(members, None):
        raise DataError(
            f"{tar}: member {extra.name!r} follows the audio of all {number} lines of {cuts.name}; "
            f"export the cut-set again"
        )


def _with_recording(text: bytes, member: Member | None, tar: str, where: str) -> bytes:
    """Add the recording of a member to a line; an invalid line is returned unchanged, and is reported later."""
    try:
        cut = parse_line(text)
    except InvalidLineError:
        cut = None
    cut_id = cut.get("id") if isinstance(cut, dict) and isinstance(cut.get("id"), str) else None
    if member is None:
        raise DataError(f"{tar} ends before the audio of cut {short_repr(cut_id)} ({where}); copy it again")
    if cut_id is None:
        return text
    if member.cut_id != cut_id:
        raise DataError(
            f"{tar}: member {short_repr(member.name)} -- expected the audio of cut {short_repr(cut_id)} ({where}); "
            f"export the cut-set again"
        )
    if member.recording is not None:
        cut["recording"] = member.recording
    return json.dumps(cut).encode() + b"\n"


def members_of(path: Path) -> Iterator[Member]:
    """Iterate over the audio members of a tar; reads only headers and manifests.

    Raises:
        DataError: the tar is damaged; names the member.
    """
    try:
        num_bytes = path.stat().st_size
        with tarfile.open(path, "r:") as tar:
            while (audio := _next_member(tar, path, num_bytes)) is not None:
                manifest = _next_member(tar, path, num_bytes)
                if manifest is None or _stem(manifest) != _stem(audio):
                    raise DataError(
                        f"{path}: no manifest follows member {audio.name!r}; export the cut-set again"
                    )
                recording = None if audio.name.endswith(".nodata") else _recording(tar, audio, manifest, path)
                yield Member(_stem(audio), audio.name, recording)
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}); copy it again") from error


def members_in(path: Path) -> Iterator[tuple[str, ByteRange]]:
    """Name and byte range of each file in any tar that is not compressed; reads only headers.

    Raises:
        DataError: the tar is damaged or compressed.
    """
    try:
        num_bytes = path.stat().st_size
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # TarFile would keep every header in memory
                if not member.isreg() or member.issparse():
                    continue
                if not 0 <= member.size <= num_bytes - member.offset_data:
                    raise DataError(f"{path} is truncated in member {member.name!r}; copy it again")
                yield member.name, ByteRange(path.absolute(), member.offset_data, member.size)
    except (tarfile.TarError, OSError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); copy it again, or unpack it to .tar if it is compressed"
        ) from error


def _next_member(tar: tarfile.TarFile, path: Path, num_bytes: int) -> tarfile.TarInfo | None:
    member = tar.next()
    tar.members.clear()  # type: ignore[attr-defined]  # TarFile would keep every header in memory
    if member is None:
        return None
    if not member.isreg() or member.issparse():
        raise DataError(f"{path}: member {member.name!r} is not a regular file; export the cut-set again")
    if not 0 <= member.size <= num_bytes - member.offset_data:
        raise DataError(f"{path} is truncated in member {member.name!r}; copy it again")
    return member


def _stem(member: tarfile.TarInfo) -> str:
    return member.name.rpartition(".")[0]


def _recording(
    tar: tarfile.TarFile, audio: tarfile.TarInfo, manifest: tarfile.TarInfo, path: Path
) -> dict[str, Any]:
    """Recording of a manifest member, with the byte range of the audio member as its source."""
    byte_range = ByteRange(path.absolute(), audio.offset_data, audio.size)
    file = tar.extractfile(manifest)
    assert file is not None, "a regular file has content"
    try:
        recording: dict[str, Any] = parse_line(file.read(MAX_MANIFEST_BYTES))
        source = {"type": "shar", "channels": recording["sources"][0]["channels"], "source": str(byte_range)}
        return recording | {"sources": [source]}
    except (InvalidLineError, LookupError, TypeError) as error:
        raise DataError(
            f"{path}: member {manifest.name!r} is not the manifest of a recording; export the cut-set again"
        ) from error


def file_holding(where: str) -> Path:
    """File of an audio source: its path, or the tar of a byte range."""
    byte_range = ByteRange.of(where)
    return Path(where) if byte_range is None else byte_range.tar


def open_source(where: str) -> str | BytesIO:
    """Source for the decoder: the path of an audio file, or the content of a byte range."""
    byte_range = ByteRange.of(where)
    return where if byte_range is None else byte_range.read()
