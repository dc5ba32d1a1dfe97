"""Cut-sets in Lhotse's Shar: lines in ``cuts.*.jsonl.gz``, their audio in ``recording.*.tar`` beside them.

Nothing is unpacked, so that no member can leave its folder: a tar is walked once,
header by header, when its cut-set is compiled; from then on a clip is a stretch of
its bytes, read where it stands.

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
STRETCH = re.compile(r"(?P<tar>.+\.tar)@(?P<start>[0-9]{1,15})\+(?P<num_bytes>[0-9]{1,15})", re.DOTALL)
MAX_MANIFEST_BYTES = 1 << 20  # bytes of the manifest of one recording; what is longer is none


class Stretch(NamedTuple):
    """Bytes of a tar that are an audio file; as text it is the source of a recording of type ``shar``."""

    tar: Path
    start: int
    num_bytes: int

    def __str__(self) -> str:
        return f"{self.tar}@{self.start}+{self.num_bytes}"

    @classmethod
    def of(cls, text: str) -> "Stretch | None":
        """The stretch behind a text, unless it is none.

        >>> Stretch.of("/data/mine/all-train/recording.000000.tar@512+27768").start
        512
        """
        found = STRETCH.fullmatch(text)
        return cls(Path(found["tar"]), int(found["start"]), int(found["num_bytes"])) if found else None

    def read(self) -> BytesIO:
        """The bytes; fewer where the tar has become shorter, which whoever decodes them will notice."""
        with self.tar.open("rb") as file:
            there = file.seek(0, os.SEEK_END)
            start = file.seek(min(self.start, there))
            return BytesIO(file.read(min(self.num_bytes, there - start)))


class Shard(NamedTuple):
    """One file of lines and one of audio."""

    cuts: Path
    tar: Path | None
    """None where no shard has one: text only, or audio in files of its own."""


class Member(NamedTuple):
    """The audio of a cut, and what its tar says about it."""

    cut_id: str
    name: str
    recording: dict[str, Any] | None  # none for a cut without audio


def is_shar(folder: Path) -> bool:
    """Whether a folder is a cut-set in Shar."""
    return folder.is_dir() and any(CUTS.fullmatch(path.name) for path in folder.iterdir())


def files_of(cut_set: Path) -> list[Path]:
    """The files of lines of a cut-set: its manifest, or those of its shards."""
    return [shard.cuts for shard in shards_of(cut_set)] if cut_set.is_dir() else [cut_set]


def shards_of(folder: Path) -> list[Shard]:
    """The shards of a cut-set, in order.

    Raises:
        DataError: a file is without its partner, or cannot be read at any position.
    """
    cuts, tars = dict[str, Path](), dict[str, Path]()
    for path in sorted(folder.iterdir()):
        if found := CUTS.fullmatch(path.name):
            cuts[found["shard"]] = path
        elif found := AUDIO.fullmatch(path.name):
            _check_tar(path, found["field"])
            tars[found["shard"]] = path
    for shard in sorted(tars.keys() - cuts.keys()):
        raise DataError(f"{tars[shard]}: cuts{shard}.jsonl.gz is not beside it; export the cut-set again")
    for shard in sorted(cuts.keys() - tars.keys()) if tars else ():
        raise DataError(
            f"{cuts[shard]}: recording{shard}.tar is not beside it; export the cut-set again with its audio"
        )
    return [Shard(path, tars.get(shard)) for shard, path in cuts.items()]


def _check_tar(tar: Path, field: str) -> None:
    if not tar.is_file():
        raise DataError(f"{tar} is no file, or a link to none; copy it again")
    if tar.suffix != ".tar":
        raise DataError(f"{tar} is compressed, so no clip can be read where it stands; unpack it to .tar")
    if field != "recording":
        raise DataError(
            f"{tar}: Lhotse cuts {field} to the length of the first clip when it writes Shar; "
            f"keep conversations of several clips in a plain manifest"
        )


def lines_of(cut_set: Path) -> Iterator[NumberedLine]:
    """Every line of a cut-set; in Shar with the place of its audio.

    Raises:
        DataError: lines and audio do not go together, or a file is damaged; names file and member.
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
        yield line._replace(text=_filled(line.text, next(members, None), f"{tar}", f"{cuts.name}:{number}"))
    if over := next(members, None):
        raise DataError(
            f"{tar}: member {over.name!r} comes after the audio of all {number} lines of {cuts.name}; "
            f"export the cut-set again"
        )


def _filled(text: bytes, member: Member | None, tar: str, where: str) -> bytes:
    """A line with its recording; as it was where it is no cut, which whoever reads it will say."""
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
            f"{tar}: member {short_repr(member.name)} stands where the audio of cut {short_repr(cut_id)} ({where}) has to be; "
            f"export the cut-set again"
        )
    if member.recording is not None:
        cut["recording"] = member.recording
    return json.dumps(cut).encode() + b"\n"


def members_of(path: Path) -> Iterator[Member]:
    """The audio in a tar, in order; only headers and manifests are read.

    Raises:
        DataError: the tar is damaged; names the member.
    """
    try:
        num_bytes = path.stat().st_size
        with tarfile.open(path, "r:") as tar:
            while (audio := _following(tar, path, num_bytes)) is not None:
                manifest = _following(tar, path, num_bytes)
                if manifest is None or _stem(manifest) != _stem(audio):
                    raise DataError(
                        f"{path}: no manifest follows member {audio.name!r}; export the cut-set again"
                    )
                recording = None if audio.name.endswith(".nodata") else _recording(tar, audio, manifest, path)
                yield Member(_stem(audio), audio.name, recording)
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}); copy it again") from error


def _following(tar: tarfile.TarFile, path: Path, num_bytes: int) -> tarfile.TarInfo | None:
    member = tar.next()
    tar.members.clear()  # type: ignore[attr-defined]  # it would keep every header it has seen
    if member is None:
        return None
    if not member.isreg() or member.issparse():
        raise DataError(f"{path}: member {member.name!r} is no plain file; export the cut-set again")
    if not 0 <= member.size <= num_bytes - member.offset_data:
        raise DataError(f"{path} breaks off in member {member.name!r}; copy it again")
    return member


def _stem(member: tarfile.TarInfo) -> str:
    return member.name.rpartition(".")[0]


def _recording(
    tar: tarfile.TarFile, audio: tarfile.TarInfo, manifest: tarfile.TarInfo, path: Path
) -> dict[str, Any]:
    """The recording that a manifest in a tar describes, its bytes named as its source."""
    stretch = Stretch(path.absolute(), audio.offset_data, audio.size)
    file = tar.extractfile(manifest)
    assert file is not None, "a plain file has content"
    try:
        recording: dict[str, Any] = parse_line(file.read(MAX_MANIFEST_BYTES))
        source = {"type": "shar", "channels": recording["sources"][0]["channels"], "source": str(stretch)}
        return recording | {"sources": [source]}
    except (InvalidLineError, LookupError, TypeError) as error:
        raise DataError(
            f"{path}: member {manifest.name!r} is no manifest of a recording; export the cut-set again"
        ) from error


def open_source(where: str) -> str | BytesIO:
    """What a decoder opens: the path of an audio file, or the bytes of a stretch."""
    stretch = Stretch.of(where)
    return where if stretch is None else stretch.read()
