"""Atomic writes and checked reads: files survive a killed process, a power failure and a flipped bit.

A file is written under a temporary name, synced and renamed. A folder likewise, under a lock, so that leftovers of
a killed process are recognised and removed. A JSON table contains its own checksum ("sealed"). Readers do not raise:
they report a file as absent or unreadable, and log an unreadable one once.
"""

import errno
import fcntl
import json
import logging
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

SEAL = "crc32"  # key (JSON) or comment (YAML) with the checksum of all other content
MAX_SYNCED = 1000  # files that are synced one by one; for more, os.sync() once is faster
PART, LOCK, OLD = ".part", ".part.lock", ".part.old"

log = logging.getLogger(__name__)
Kind = TypeVar("Kind")
_reported: set[Path] = set()


@contextmanager
def atomic_write(path: Path, *, is_synced: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces ``path`` on success; after an error the old file is unchanged.

    Args:
        is_synced: wait until the file is on disk; not needed if its loss costs nothing.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.new")
    try:
        with temporary.open("xb") as file:
            yield file
            if is_synced:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if is_synced:
        sync_folder(path.parent)


def write_bytes(path: Path, content: bytes, *, is_synced: bool = True) -> None:
    """Replace a file atomically."""
    with atomic_write(path, is_synced=is_synced) as file:
        file.write(content)


def write_text(path: Path, text: str, *, is_synced: bool = True) -> None:
    """Replace a text file atomically."""
    write_bytes(path, text.encode(), is_synced=is_synced)


def write_json(
    path: Path, content: Mapping[str, Any], *, indent: int | None = 1, is_synced: bool = True
) -> None:
    """Replace a JSON table atomically, with its checksum."""
    write_text(path, json.dumps(seal(content), indent=indent) + "\n", is_synced=is_synced)


def sync_file(path: Path) -> None:
    """Sync the content of a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


sync_folder = sync_file


def sync_tree(folder: Path) -> None:
    """Sync a folder with all its content to disk."""
    paths = [Path(root) / name for root, _, names in os.walk(folder) for name in (*names, "")]
    if len(paths) > MAX_SYNCED:
        os.sync()
        return
    for path in paths:
        sync_file(path)


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Table as JSON reads it back, with its checksum added."""
    plain: dict[str, Any] = json.loads(json.dumps(content, default=str))
    return {**plain, SEAL: _crc32(plain)}


def unseal(content: Any) -> dict[str, Any]:
    """Check and remove the checksum of a table; one without a checksum, from an earlier release, is accepted.

    Raises:
        ValueError: not a table, or the checksum does not match.
    """
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    if SEAL not in content:
        return content
    plain = {key: value for key, value in content.items() if key != SEAL}
    if content[SEAL] != _crc32(plain):
        raise ValueError("its checksum does not match its content")
    return plain


def _crc32(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


@dataclass(frozen=True)
class JsonTable:
    """Content of a JSON file; empty if the file is absent or unreadable."""

    values: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    """Reason why it is unreadable; empty if it is not."""

    is_absent: bool = False


def read_json(path: Path) -> JsonTable:
    """Read a JSON table and check its checksum."""
    try:
        return JsonTable(unseal(json.loads(path.read_bytes())))
    except FileNotFoundError:
        return JsonTable(is_absent=True)
    except (OSError, ValueError, RecursionError) as error:
        return JsonTable(fault=report_unreadable(path, error))


def read_table(path: Path) -> dict[str, Any]:
    """Values of a JSON table; empty if the file is absent or unreadable."""
    return read_json(path).values


def dataclass_from(kind: type[Kind], table: Mapping[str, Any]) -> Kind | None:
    """Build a dataclass from a table, ignoring unknown keys; None if a required field is missing."""
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    try:
        return kind(**{key: value for key, value in table.items() if key in known})
    except TypeError:
        return None


def report_unreadable(path: Path, why: Exception | str) -> str:
    """Log once that a file is treated as absent, and return the reason."""
    reason = why if isinstance(why, str) else _reason(why)
    if path not in _reported:
        log.warning("%s is unreadable (%s) and treated as absent", path, reason)
    _reported.add(path)
    return reason


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) if type(error) is ValueError else f"it is not JSON: {error}"


def seal_text(text: str) -> str:
    """Append a YAML comment with the checksum of all lines above it."""
    return f"{text}# {SEAL}: {zlib.crc32(text.encode())}\n"


def text_fault(path: Path) -> str:
    """Reason why a sealed text is damaged or unreadable; empty if it is intact or was never sealed."""
    try:
        content = path.read_bytes()
        content.decode()
    except (OSError, ValueError) as error:
        return _reason(error) if isinstance(error, OSError) else "it is not UTF-8"
    text, separator, checksum = content.rpartition(b"# " + SEAL.encode() + b": ")
    if separator and checksum.strip() != str(zlib.crc32(text)).encode():
        return "its checksum does not match its content"
    return "" if content.strip() else "it is empty"


def is_sealed_text(path: Path) -> bool:
    """True if a text has a checksum comment."""
    return b"\n# " + SEAL.encode() + b": " in path.read_bytes()


class JsonLine(NamedTuple):
    """Line of a JSON Lines file and its end."""

    record: dict[str, Any] | None
    """None if the line is damaged."""

    end: int  # offset in bytes


def read_lines(path: Path, offset: int = 0) -> Iterator[JsonLine]:
    """Yield complete lines from an offset on; an incomplete last line, still being written, is left for the next call.

    A damaged line is logged, once per file.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for text in file:
            if not text.endswith(b"\n"):
                return
            offset += len(text)
            try:
                yield JsonLine(unseal(json.loads(text)), offset)
            except (ValueError, RecursionError):
                if path not in _reported:
                    log.warning("%s: a damaged line, ending at byte %d, is skipped", path, offset)
                _reported.add(path)
                yield JsonLine(None, offset)


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """Create a temporary folder to fill, next to ``folder``; ``put_folder`` moves it there, an error removes it.

    Leftovers of killed processes in the same parent are removed first.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_partial_folders(folder.parent)
    lock, descriptor = _create_lock(folder)
    partial = lock.with_name(lock.name.removesuffix(LOCK) + PART)
    try:
        partial.mkdir()
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # already moved, unless an error occurred
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def put_folder(partial: Path, folder: Path) -> None:
    """Sync a partial folder, then move it to its final path; an existing folder is removed after that."""
    sync_tree(partial)
    old = partial.with_name(partial.name.removesuffix(PART) + OLD)
    try:
        if folder.is_dir():
            folder.rename(old)
        partial.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def put_new_folder(partial: Path, folder: Path) -> bool:
    """Sync a partial folder, then move it to its final path; False if another folder is already there."""
    sync_tree(partial)
    try:
        partial.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    sync_folder(folder.parent)
    return True


def remove_partial_folders(parent: Path) -> None:
    """Remove partial folders of dead processes, and restore a folder that one of them had moved aside."""
    for lock in parent.glob(f".*{LOCK}"):
        try:
            descriptor = os.open(lock, os.O_RDWR)
        except OSError:
            continue  # removed in the meantime, or another user's
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_leftovers(lock)
        except OSError:
            continue  # its process is alive, or the file system has no locks
        finally:
            os.close(descriptor)


def _remove_leftovers(lock: Path) -> None:
    stem = lock.name.removesuffix(LOCK)
    old, folder = lock.with_name(stem + OLD), lock.with_name(stem[1:].rpartition(".")[0])
    if old.exists() and not folder.exists():
        old.rename(folder)
    for leftover in (old, lock.with_name(stem + PART)):
        shutil.rmtree(leftover, ignore_errors=True)
    lock.unlink(missing_ok=True)


def _create_lock(folder: Path) -> tuple[Path, int]:
    """Create and lock a file with a unique name; returns its path and descriptor."""
    while True:
        lock = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}{LOCK}")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)  # another process is removing it
            continue
        except OSError:
            return lock, descriptor  # a file system without locks, so no other process removes it either
        if lock.exists():
            return lock, descriptor
        os.close(descriptor)


@contextmanager
def file_lock(path: Path, tries: int = 100, pause: float = 0.01) -> Iterator[None]:
    """Hold an exclusive lock on a file; gives up silently after ``tries`` or on a file system without locks."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        for _ in range(tries):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(pause)
            except OSError:
                break
        yield
    finally:
        os.close(descriptor)
