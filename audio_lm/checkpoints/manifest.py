"""What makes a folder a checkpoint: a manifest with the size and the checksum of every file, its own included.

No manifest, another size, another checksum: not a checkpoint. Nothing else is asked,
and above all not whether the folder has the right name or ``.metadata`` is there.
"""

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from audio_lm.errors import CheckpointError

FORMAT = 1  # raised whenever a checkpoint is written in another way
FILE = "MANIFEST.json"
PROGRESS = "progress.json"
SEAL = "crc32"
BYTES_AT_ONCE = 1 << 24


class FileSeal(NamedTuple):
    """What a file has to be."""

    size: int
    crc32: int


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint is, in plain values."""

    step: int
    world_size: int
    """Ranks that wrote it."""

    facts: dict[str, Any]
    """Of whoever saved: stage, digests, losses."""

    files: dict[str, FileSeal]
    format: int = FORMAT

    @property
    def num_bytes(self) -> int:
        """Of all files."""
        return sum(seal.size for seal in self.files.values())


def crc32_of(path: Path) -> int:
    """Checksum of a file."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(BYTES_AT_ONCE):
            crc = zlib.crc32(block, crc)
    return crc


def seal_of(path: Path) -> FileSeal:
    """Size and checksum of a file, read back from where it lies."""
    return FileSeal(path.stat().st_size, crc32_of(path))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put a manifest, sealed and synced, beside the files it speaks of."""
    content = {
        "format": manifest.format,
        "step": manifest.step,
        "world_size": manifest.world_size,
        **manifest.facts,
        "files": {name: seal._asdict() for name, seal in sorted(manifest.files.items())},
    }
    write_synced(folder / FILE, json.dumps({**content, SEAL: _crc32(content)}, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder.

    Raises:
        CheckpointError: there is none, or it is not what was written; says which.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"it has no {FILE}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{FILE} cannot be read ({type(error).__name__})") from error
    if not isinstance(content, dict) or content.pop(SEAL, None) != _crc32(content):
        raise CheckpointError(f"{FILE} is not what was written")
    _check_format(folder, content.get("format"))
    files = {name: FileSeal(**seal) for name, seal in content.pop("files").items()}
    if strange := [name for name in files if Path(name).name != name or name in ("", ".", "..")]:
        raise CheckpointError(f"{FILE} names {strange[0]!r}, which is no file of this folder")
    numbers = {key: content.pop(key) for key in ("format", "step", "world_size")}
    return Manifest(facts=content, files=files, **numbers)


class OtherFormatError(CheckpointError):
    """A whole checkpoint of another format: refused, and never passed over for an older one."""


def _check_format(folder: Path, number: Any) -> None:
    if number != FORMAT:
        raise OtherFormatError(
            f"{folder} is a checkpoint of format {number}, and this program reads format {FORMAT} -- go on with the release "
            f"that wrote it, or begin the stage anew without resume"
        )


def fault_of(folder: Path, manifest: Manifest, names: Mapping[str, FileSeal] | None = None) -> str | None:
    """What is wrong with the files of a checkpoint; None when nothing is.

    Args:
        names: files whose checksum is looked at as well as their size; none for sizes only.
    """
    for name, seal in manifest.files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != seal.size:
            return f"{name} has {path.stat().st_size} bytes and not {seal.size}"
    for name, seal in (names or {}).items():
        if crc32_of(folder / name) != seal.crc32:
            return f"{name} has another checksum than was written"
    return None


def write_synced(path: Path, text: str) -> None:
    """Write a new file, and return when it is on the disk."""
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _crc32(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True, allow_nan=False).encode())
