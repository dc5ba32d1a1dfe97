"""NeMo's tarred manifests: audio in ``audio_0.tar`` ..., rows with ``shard_id``; a clip is a byte range of its tar.

Rows of the same file have the suffixes ``-sub1``, ``-sub2`` ... and offsets. A path may be a pattern of shards,
``audio_{0..127}.tar`` or ``audio__OP_0..127_CL_.tar``. Sharded manifests are ``manifest_0.json`` ... in one folder.

Source: NVIDIA/NeMo, scripts/speech_recognition/convert_to_tarred_audio_dataset.py (_create_shard),
nemo/collections/common/data/lhotse/nemo_adapters.py (LazyNeMoTarredIterator), nemo/collections/asr/data/audio_to_text.py
(expand_sharded_filepaths).
"""

import re
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.common import Row
from audio_lm.data.manifest.shar import members_in

PATTERN = re.compile(r"(?:\{|\(|\[|<|_OP_)(?P<first>\d+)\.\.(?P<last>\d+)(?:\}|\)|\]|>|_CL_)")
TAR = re.compile(r"audio[^/]*_(\d+)[^/]*\.tar")
MANIFEST = re.compile(r"manifest[^/]*_(\d+)[^/]*\.jsonl?")
PART = re.compile(r"-sub\d+(?=\.\w+$|$)")
MAX_SHARDS = 100_000


def manifests_at(path: Path) -> list[Path]:
    """Manifests of a path: itself, those of its pattern, or the sharded ones in a folder.

    Raises:
        DataError: a folder has none, or a file of a pattern is missing.
    """
    found = expand(str(path)) if PATTERN.search(path.name) and not path.exists() else [path]
    if path.is_dir():
        found = sorted((place for place in path.iterdir() if MANIFEST.fullmatch(place.name)), key=_shard)
        if not found:
            raise DataError(
                f"{path} has no manifest_0.json, manifest_1.json ...; give the path of a manifest"
            )
    return found


def expand(text: str) -> list[Path]:
    """Paths of a pattern of shards, or the path itself.

    Raises:
        DataError: one is missing, or the pattern is a command or a URL.

    >>> PATTERN.sub("*", "tars/audio__OP_0..127_CL_.tar")
    'tars/audio_*.tar'
    """
    if text.startswith("pipe:") or "://" in text:
        raise DataError(f"{text!r} is a command or a URL, which is not read; download the tars to a folder")
    match = PATTERN.search(text)
    if match is None:
        return [Path(text)]
    first, last = match["first"], match["last"]
    if not 0 <= int(last) - int(first) < MAX_SHARDS:
        raise DataError(
            f"{text!r} has the shards {first} to {last} -- expected at most {MAX_SHARDS}; correct it"
        )
    width = len(first) if first.startswith("0") else 1
    numbers = (f"{number:0{width}d}" for number in range(int(first), int(last) + 1))
    paths = [Path(text[: match.start()] + number + text[match.end() :]) for number in numbers]
    if missing := [path for path in paths if not path.is_file()]:
        raise DataError(
            f"{len(missing)} of the {len(paths)} files of {text!r} are missing, such as {missing[0]}; correct the pattern"
        )
    return paths


class TarredAudio:
    """Audio files in the tars of a tarred manifest."""

    def __init__(self, manifest: Path, tars: str) -> None:
        """Find the tars.

        Args:
            manifest: a path of a manifest; by default the tars are in its folder, or that above it.
            tars: folder or pattern of the tars.
        """
        folders = [Path(tars)] if tars else [manifest.parent, manifest.parent.parent]
        is_pattern = bool(tars) and not Path(tars).is_dir()
        found = [_numbered(expand(tars) if is_pattern else _tars_in(folder)) for folder in folders]
        self._tars: dict[int, Path] = next((numbered for numbered in found if numbered), {})
        self._where = tars or str(manifest.parent)
        self._members: dict[int, dict[str, Path]] = {}

    def find(self, row: Row) -> Path:
        """Byte range of a row's audio, as a path.

        Raises:
            DataError: the tar or its member is missing.
        """
        shard, name = row.get("shard_id"), row.get("audio_filepath")
        if not isinstance(name, str):
            raise DataError(f"the audio is {name!r} -- expected the name of one file in a tar; correct it")
        if not isinstance(shard, int) or shard not in self._tars:
            raise DataError(
                f"shard {shard!r} of a tarred manifest: {self._where} has the tars {_ranges(self._tars)} -- expected "
                f"audio_{shard}.tar; give their folder or pattern with --tars"
            )
        if shard not in self._members:
            self._members[shard] = _members(self._tars[shard])
        members = self._members[shard]
        for candidate in (name, PART.sub("", name), PurePath(PART.sub("", name)).stem):
            if candidate in members:
                return members[candidate]
        raise DataError(
            f"{self._tars[shard]} has no {name!r}, but {len(members)} other names; give the tars of this manifest"
        )


def is_tarred(row: Row) -> bool:
    """True if the audio of a row is in a tar."""
    return dict.get(row, "shard_id") is not None


def _members(tar: Path) -> dict[str, Path]:
    """Members of a tar by name, and by their stems: NeMo transcodes some to another format."""
    found = {name.removeprefix("./"): Path(str(byte_range)) for name, byte_range in members_in(tar)}
    return {PurePath(name).stem: place for name, place in found.items()} | found


def _tars_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if TAR.fullmatch(path.name)] if folder.is_dir() else []


def _numbered(paths: Iterable[Path]) -> dict[int, Path]:
    return {int(match[1]): path.absolute() for path in paths if (match := TAR.fullmatch(path.name))}


def _shard(path: Path) -> int:
    match = MANIFEST.fullmatch(path.name)
    assert match is not None, "only sharded manifests are sorted"
    return int(match[1])


def _ranges(shards: dict[int, Any]) -> str:
    return f"{min(shards)} to {max(shards)}" if shards else "none"
