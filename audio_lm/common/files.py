"""Files that survive a kill, a power cut and a flipped bit: one way to write them, one way to read them.

A file is written beside its place, synced and renamed; a folder likewise, under a lock, so that what a killed
process has left is known for what it is and removed. A JSON table carries its own checksum. Readers never raise:
they say that a file is absent or unreadable, and log an unreadable one once.
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

SEAL = "crc32"  # key, or comment, that holds the checksum of all the rest
MOST_SYNCED = 1000  # files of a folder, one by one; of more the whole machine is synced once
PART, LOCK, OLD = ".part", ".part.lock", ".part.old"

log = logging.getLogger(__name__)
Kind = TypeVar("Kind")
_reported: set[Path] = set()


@contextmanager
def atomic_write(path: Path, *, is_synced: bool = True) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of another when it is complete; an error leaves the old one.

    Args:
        is_synced: return when it is on the disk; not needed where losing it costs nothing.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.new")
    try:
        with beside.open("xb") as file:
            yield file
            if is_synced:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if is_synced:
        sync_folder(path.parent)


def write_bytes(path: Path, content: bytes, *, is_synced: bool = True) -> None:
    """Replace a file in one move."""
    with atomic_write(path, is_synced=is_synced) as file:
        file.write(content)


def write_text(path: Path, text: str, *, is_synced: bool = True) -> None:
    """Replace a file in one move."""
    write_bytes(path, text.encode(), is_synced=is_synced)


def write_json(
    path: Path, content: Mapping[str, Any], *, indent: int | None = 1, is_synced: bool = True
) -> None:
    """Replace a table, with its checksum, in one move."""
    write_text(path, json.dumps(seal(content), indent=indent) + "\n", is_synced=is_synced)


def sync_file(path: Path) -> None:
    """Return when the content of a file, or the names in a folder, are on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


sync_folder = sync_file


def sync_tree(folder: Path) -> None:
    """Return when everything below a folder is on the disk."""
    places = [Path(root) / name for root, _, names in os.walk(folder) for name in (*names, "")]
    if len(places) > MOST_SYNCED:
        os.sync()
        return
    for place in places:
        sync_file(place)


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """A table as JSON will give it back, with the checksum of all of it."""
    plain: dict[str, Any] = json.loads(json.dumps(content, default=str))
    return {**plain, SEAL: _crc32(plain)}


def unseal(content: Any) -> dict[str, Any]:
    """The table that was sealed, or one from before tables were sealed.

    Raises:
        ValueError: it is no table, or not what was written.
    """
    if not isinstance(content, dict):
        raise ValueError("it holds no table")
    if SEAL not in content:
        return content
    plain = {key: value for key, value in content.items() if key != SEAL}
    if content[SEAL] != _crc32(plain):
        raise ValueError("its checksum is not that of its content")
    return plain


def _crc32(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


@dataclass(frozen=True)
class Table:
    """What a file of JSON holds; empty where it is absent or unreadable."""

    values: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    """Why it is unreadable."""

    is_absent: bool = False


def read_json(path: Path) -> Table:
    """The table in a file."""
    try:
        return Table(unseal(json.loads(path.read_bytes())))
    except FileNotFoundError:
        return Table(is_absent=True)
    except (OSError, ValueError, RecursionError) as error:
        return Table(fault=report_unreadable(path, error))


def read_table(path: Path) -> dict[str, Any]:
    """The table in a file; empty where it is absent or unreadable."""
    return read_json(path).values


def dataclass_from(kind: type[Kind], table: Mapping[str, Any]) -> Kind | None:
    """A dataclass from the fields of a table that it knows; none where one is missing."""
    known = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    try:
        return kind(**{key: value for key, value in table.items() if key in known})
    except TypeError:
        return None


def report_unreadable(path: Path, why: Exception | str) -> str:
    """Log once that a file counts as absent; returns the reason."""
    reason = why if isinstance(why, str) else _reason(why)
    if path not in _reported:
        log.warning("%s is unreadable (%s) and counts as absent", path, reason)
    _reported.add(path)
    return reason


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) if type(error) is ValueError else f"it is no JSON: {error}"


def seal_text(text: str) -> str:
    """A text whose last line is a comment of YAML with the checksum of all lines before it."""
    return f"{text}# {SEAL}: {zlib.crc32(text.encode())}\n"


def text_fault(path: Path) -> str:
    """Why a file is not the text that was sealed; empty when it is, or was written before texts were sealed."""
    try:
        content = path.read_bytes()
        content.decode()
    except (OSError, ValueError) as error:
        return _reason(error) if isinstance(error, OSError) else "it is not UTF-8"
    text, found, number = content.rpartition(b"# " + SEAL.encode() + b": ")
    if found and number.strip() != str(zlib.crc32(text)).encode():
        return "its checksum is not that of its content"
    return "" if content.strip() else "it is empty"


def is_sealed_text(path: Path) -> bool:
    """Whether a text ends with the comment that seals it."""
    return b"\n# " + SEAL.encode() + b": " in path.read_bytes()


class Line(NamedTuple):
    """A line of JSON, and where it ends."""

    record: dict[str, Any] | None
    """None for a damaged line."""

    end: int  # offset in bytes


def read_lines(path: Path, offset: int = 0) -> Iterator[Line]:
    """Complete lines from an offset on; one that is being written at this moment is left for the next time.

    Damaged lines are logged, once for each file.
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
                yield Line(unseal(json.loads(text)), offset)
            except (ValueError, RecursionError):
                if path not in _reported:
                    log.warning("%s: a damaged line, ending at byte %d, is passed over", path, offset)
                _reported.add(path)
                yield Line(None, offset)


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """A new folder to fill, beside the place that ``put_folder`` gives it; nothing of it stays after an error.

    What killed processes have left in the same parent is removed first.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_partial_folders(folder.parent)
    lock, number = _locked(folder)
    partial = lock.with_name(lock.name.removesuffix(LOCK) + PART)
    try:
        partial.mkdir()
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # gone already unless something went wrong
        lock.unlink(missing_ok=True)
        os.close(number)


def put_folder(partial: Path, folder: Path) -> None:
    """Move a folder into its place when it is on the disk; an older one is removed when the new one stands."""
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
    """Move a folder into its place when it is on the disk; False where another one stands there already."""
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
    """Remove the partial folders of processes that are gone, and put back what one of them had moved aside."""
    for lock in parent.glob(f".*{LOCK}"):
        try:
            number = os.open(lock, os.O_RDWR)
        except OSError:
            continue  # it is gone by now, or another user's
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_left(lock)
        except OSError:
            continue  # its process lives, or the disk keeps no locks
        finally:
            os.close(number)


def _remove_left(lock: Path) -> None:
    stem = lock.name.removesuffix(LOCK)
    old, folder = lock.with_name(stem + OLD), lock.with_name(stem[1:].rpartition(".")[0])
    if old.exists() and not folder.exists():
        old.rename(folder)
    for left in (old, lock.with_name(stem + PART)):
        shutil.rmtree(left, ignore_errors=True)
    lock.unlink(missing_ok=True)


def _locked(folder: Path) -> tuple[Path, int]:
    """A lock file of its own name, and its open number."""
    while True:
        lock = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}{LOCK}")
        number = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(number)  # swept at this very moment
            continue
        except OSError:
            return lock, number  # the disk keeps no locks, so nobody sweeps either
        if lock.exists():
            return lock, number
        os.close(number)


@contextmanager
def file_lock(path: Path, tries: int = 100, pause: float = 0.01) -> Iterator[None]:
    """Be the only one of those who lock this file; a disk without locks, or a frozen holder, is not waited for."""
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        for _ in range(tries):
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(pause)
            except OSError:
                break
        yield
    finally:
        os.close(number)
