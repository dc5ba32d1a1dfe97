"""Sealed folders: folders with a manifest that has size and checksum (CRC-32) of each file.

A folder is valid if the manifest exists, has its own checksum, and all sizes and checksums match. The name of the
folder does not count. Checkpoints, weights, tokenizers and cached tables next to the data are sealed folders.
"""

import json
import logging
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

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
FORMAT = 1  # of a sealed folder that is not a checkpoint

log = logging.getLogger(__name__)
Loaded = TypeVar("Loaded")
Loaded_co = TypeVar("Loaded_co", covariant=True)


class SealError(CheckpointError):
    """Sealed folder that is damaged or has no manifest."""


class FileSeal(NamedTuple):
    """Expected size and checksum of a file."""

    size: int
    crc32: int


def crc32_of(path: Path) -> int:
    """CRC-32 of a file."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(BYTES_AT_ONCE):
            crc = zlib.crc32(block, crc)
    return crc


def seal_of(path: Path) -> FileSeal:
    """Size and checksum of a file, read back from disk."""
    return FileSeal(path.stat().st_size, crc32_of(path))


def seals_of(folder: Path) -> dict[str, FileSeal]:
    """Seals of all files in a folder, by name, except its manifest."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != FILE)
    return {name: seal_of(folder / name) for name in names}


def write_seals(folder: Path, files: Mapping[str, FileSeal], **facts: Any) -> None:
    """Write the manifest of a folder, with its own checksum, synced to disk."""
    content = {**facts, "files": {name: file_seal._asdict() for name, file_seal in sorted(files.items())}}
    write_text(folder / FILE, json.dumps(seal(content), indent=1, allow_nan=False) + "\n")


def read_facts(folder: Path) -> dict[str, Any]:
    """Read a manifest; ``files_in`` parses its files.

    Raises:
        SealError: the manifest is missing, unreadable or damaged; states which.
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
        raise SealError(f"{FILE} is damaged ({error})") from error


def files_in(facts: Mapping[str, Any]) -> dict[str, FileSeal]:
    """Parse the files of a manifest.

    Raises:
        SealError: the entry is malformed, or a name is not that of a file in the folder.
    """
    try:
        files = {str(name): FileSeal(**fields) for name, fields in facts["files"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise SealError(f"{FILE} has no valid list of files") from error
    if invalid := [name for name in files if Path(name).name != name or name in ("", ".", "..")]:
        raise SealError(f"{FILE} names {invalid[0]!r}, expected a file name without a path")
    return files


def fault_of(
    folder: Path, files: Mapping[str, FileSeal], names: Mapping[str, FileSeal] | None = None
) -> str | None:
    """First fault in the files of a folder; None if they are intact.

    Args:
        names: files whose checksum is compared as well as their size; None compares sizes only.
    """
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected.size:
            return f"{name} has {path.stat().st_size} bytes and not {expected.size}"
    for name, expected in (names or {}).items():
        if crc32_of(folder / name) != expected.crc32:
            return f"{name} has another checksum than was written"
    return None


def seal_folder(folder: Path) -> None:
    """Write the manifest of the files that a folder has now."""
    write_seals(folder, seals_of(folder), format=FORMAT)


def folder_fault(folder: Path) -> str | None:
    """First fault of a sealed folder, with all checksums compared; None if it is intact."""
    try:
        files = files_in(read_facts(folder))
        return fault_of(folder, files, files)
    except SealError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


class MakeFolder(Protocol):
    """Producer of the content of a folder."""

    def __call__(self, folder: Path, /) -> object:
        """Fill an empty folder."""


class LoadFolder(Protocol[Loaded_co]):
    """Reader of the content of a folder."""

    def __call__(self, folder: Path, /) -> Loaded_co:
        """Load an intact folder."""


def cached_folder(folder: Path, make: MakeFolder, load: LoadFolder[Loaded], *, tries: int = 3) -> Loaded:
    """Load a sealed folder; make it if it is absent or damaged.

    Several processes may run this at once: each makes the same content, and one of them moves it to its path.

    Args:
        folder: named after a digest of everything that its content depends on.
        make: fills an empty folder.

    Raises:
        OSError: the folder cannot be written.
    """
    for left in reversed(range(tries)):
        if fault := folder_fault(folder):
            if folder.exists():
                log.warning("%s is damaged (%s) and is made again", folder, fault)
            _make(folder, make)
        try:
            return load(folder)
        except FileNotFoundError:  # another process is replacing it
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def _make(folder: Path, make: MakeFolder) -> None:
    with partial_folder(folder) as partial:
        make(partial)
        seal_folder(partial)
        try:
            # An intact folder from another process may already be in use, so only a damaged one is replaced.
            if not put_new_folder(partial, folder) and folder_fault(folder) is not None:
                put_folder(partial, folder)
        except OSError:
            if folder_fault(folder) is not None:  # otherwise another process has made it
                raise
