"""Sealed folders: a manifest with the size and the checksum of every file, its own included.

No manifest, another size, another checksum: not what was written. Nothing else is asked, and above all not whether
the folder has the right name. Checkpoints are sealed so, and everything that is kept beside the data.
"""

import json
import logging
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from audio_lm.common.errors import CheckpointError
from audio_lm.common.files import (
    SEAL,
    partial_folder,
    put_folder,
    put_new_folder,
    seal,
    unseal,
    write_text,
)

FILE = "MANIFEST.json"
BYTES_AT_ONCE = 1 << 20
FORMAT = 1  # of a sealed folder that is no checkpoint

log = logging.getLogger(__name__)
Loaded = TypeVar("Loaded")


class SealError(CheckpointError):
    """A folder is not what was written."""


class FileSeal(NamedTuple):
    """What a file has to be."""

    size: int
    crc32: int


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


def seals_of(folder: Path) -> dict[str, FileSeal]:
    """Of every file in a folder but its manifest."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != FILE)
    return {name: seal_of(folder / name) for name in names}


def write_seals(folder: Path, files: Mapping[str, FileSeal], **facts: Any) -> None:
    """Put a manifest, sealed and synced, beside the files it speaks of."""
    content = {**facts, "files": {name: seal._asdict() for name, seal in sorted(files.items())}}
    write_text(folder / FILE, json.dumps(seal(content), indent=1, allow_nan=False) + "\n")


def read_facts(folder: Path) -> dict[str, Any]:
    """All of a manifest; ``files_in`` takes its files apart.

    Raises:
        SealError: there is none, or it is not what was written; says which.
    """
    try:
        content = json.loads((folder / FILE).read_bytes())
    except FileNotFoundError:
        raise SealError(f"it has no {FILE}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise SealError(f"{FILE} cannot be read ({type(error).__name__})") from error
    try:
        if not isinstance(content, dict) or SEAL not in content:
            raise ValueError("it has no checksum")
        return unseal(content)
    except ValueError as error:
        raise SealError(f"{FILE} is not what was written") from error


def files_in(facts: Mapping[str, Any]) -> dict[str, FileSeal]:
    """The files that a manifest names.

    Raises:
        SealError: they are not described as files of one folder.
    """
    try:
        files = {str(name): FileSeal(**seal) for name, seal in facts["files"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise SealError(f"{FILE} describes no files") from error
    if strange := [name for name in files if Path(name).name != name or name in ("", ".", "..")]:
        raise SealError(f"{FILE} names {strange[0]!r}, which is no file of this folder")
    return files


def fault_of(
    folder: Path, files: Mapping[str, FileSeal], names: Mapping[str, FileSeal] | None = None
) -> str | None:
    """What is wrong with the files of a folder; None when nothing is.

    Args:
        names: files whose checksum is looked at as well as their size; none for sizes only.
    """
    for name, seal in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != seal.size:
            return f"{name} has {path.stat().st_size} bytes and not {seal.size}"
    for name, seal in (names or {}).items():
        if crc32_of(folder / name) != seal.crc32:
            return f"{name} has another checksum than was written"
    return None


def seal_folder(folder: Path) -> None:
    """Seal the files of a folder as they are."""
    write_seals(folder, seals_of(folder), format=FORMAT)


def folder_fault(folder: Path) -> str | None:
    """What is wrong with a sealed folder, every checksum looked at; None when nothing is."""
    try:
        files = files_in(read_facts(folder))
        return fault_of(folder, files, files)
    except SealError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def cached_folder(
    folder: Path, make: Callable[[Path], object], load: Callable[[Path], Loaded], *, tries: int = 3
) -> Loaded:
    """What a sealed folder holds; it is made where it is absent, and again where it does not hold.

    Several processes may come at once; they make the same, and one of them puts it into its place.

    Args:
        folder: named after everything that its content follows from.
        make: fills an empty folder.

    Raises:
        OSError: it cannot be written.
    """
    for left in reversed(range(tries)):
        if fault := folder_fault(folder):
            if folder.exists():
                log.warning("%s does not hold (%s); it is made again", folder, fault)
            _make(folder, make)
        try:
            return load(folder)
        except FileNotFoundError:  # another process has put its own there at this moment
            if not left:
                raise
    raise AssertionError("a last try returns or raises")


def _make(folder: Path, make: Callable[[Path], object]) -> None:
    with partial_folder(folder) as partial:
        make(partial)
        seal_folder(partial)
        try:
            # renamed only onto nothing: a whole folder that another process put there may be in use by now
            if not put_new_folder(partial, folder) and folder_fault(folder) is not None:
                put_folder(partial, folder)
        except OSError:
            if folder_fault(folder) is not None:  # else another process was faster, with the same
                raise
