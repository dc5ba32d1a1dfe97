"""Download and unpack archives: once, with checksums, atomically.

An interrupted download resumes if the server supports range requests.
"""

import hashlib
import http.client
import io
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from audio_lm.common.errors import DataError
from audio_lm.common.files import partial_folder, put_folder, sync_file
from audio_lm.common.progress import progress
from audio_lm.common.protocols import Advance, Report

TIMEOUT_SECONDS = 30
MEGABYTE = 10**6
MIN_MEGABYTES = 20  # of an archive; less is short work
CHUNK_BYTES = 2**18


@dataclass(frozen=True)
class Archive:
    """Archive offered by a publisher."""

    url: str

    md5: str | None = None
    """In hexadecimal, where the publisher gives it."""

    sha256: str | None = None
    """In hexadecimal, where the publisher gives it."""

    @property
    def file_name(self) -> str:
        """Local file name."""
        return self.url.partition("?")[0].rpartition("/")[2]


def download(archive: Archive, path: Path, report: Report, *, alternative: str) -> Path:
    """Download a file unless it exists.

    Args:
        alternative: what to do without a download; last clause of the error message.

    Raises:
        DataError: the download failed (the partial file is kept), or the checksum is wrong.
    """
    if path.is_file():
        return path
    report(f"downloading {archive.url}")
    partial = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(archive.url, partial)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise DataError(
            f"{archive.url} could not be downloaded ({error}) -- run the command again to resume, or {alternative}"
        ) from error
    _check_sum(archive, partial)
    sync_file(partial)
    partial.rename(path)
    return path


def unpack(path: Path, folder: Path, report: Report) -> Path:
    """Unpack an archive atomically, unless the folder exists.

    Raises:
        DataError: the archive is damaged.
    """
    if folder.is_dir():
        return folder
    report(f"unpacking {path.name}")
    try:
        with partial_folder(folder) as partial:
            is_zip = zipfile.is_zipfile(path)
            with _shown(f"unpacking {path.name}", path) as file:
                if is_zip:
                    _unpack_zip(file, partial)
                else:
                    with tarfile.open(fileobj=file) as archive:
                        archive.extractall(partial, filter="data")
            put_folder(partial, folder)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise DataError(
            f"{path} is not a complete archive ({error}) -- delete it and run the command again"
        ) from error
    return folder


def _fetch(url: str, partial: Path) -> None:
    """Download to a partial file; resume it if the server supports range requests."""
    num_bytes = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={num_bytes}-"} if num_bytes else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # the partial file is complete; only the rename is missing
        raise
    with response:
        is_resumed = getattr(response, "status", None) == http.HTTPStatus.PARTIAL_CONTENT
        expected = response.headers.get("Content-Length")
        title, total = f"downloading {partial.stem}", None if expected is None else int(expected) // MEGABYTE
        shown = progress(title, total=total, what="MB", min_total=MIN_MEGABYTES)
        with shown as advance, partial.open("ab" if is_resumed else "wb") as file:
            count = _Megabytes(advance)
            while chunk := response.read(CHUNK_BYTES):
                count.add(file.write(chunk))
        written = partial.stat().st_size - (num_bytes if is_resumed else 0)
    if expected is not None and written < int(expected):
        raise http.client.IncompleteRead(b"", int(expected) - written)


def _check_sum(archive: Archive, partial: Path) -> None:
    for kind, expected in (("md5", archive.md5), ("sha256", archive.sha256)):
        if expected is None:
            continue
        with _shown(f"checking {partial.stem}", partial) as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != expected:
            partial.unlink()
            raise DataError(
                f"{archive.url} has {kind} {found} -- expected {expected}; the file was removed, run the command again"
            )


def _unpack_zip(file: IO[bytes], folder: Path) -> None:
    """Unpack a zip archive; members that point outside of the folder are left out, as ``shutil`` does."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.filename.startswith("/") or ".." in member.filename:
                continue
            target = folder / member.filename
            (target if member.is_dir() else target.parent).mkdir(parents=True, exist_ok=True)
            if not member.is_dir():
                with archive.open(member) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)


@contextmanager
def _shown(title: str, path: Path) -> Iterator["io.BufferedReader[_CountedFile]"]:
    """Open a file whose reading shows progress."""
    total = path.stat().st_size // MEGABYTE
    with (
        progress(title, total=total, what="MB", min_total=MIN_MEGABYTES) as advance,
        io.BufferedReader(_CountedFile(path, advance), CHUNK_BYTES) as file,
    ):
        yield file


class _Megabytes:
    """Count bytes, and advance by whole megabytes."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._num_bytes = 0

    def add(self, num_bytes: int) -> None:
        before = self._num_bytes // MEGABYTE
        self._num_bytes += num_bytes
        self._advance(self._num_bytes // MEGABYTE - before)


class _CountedFile(io.FileIO):
    """File whose bytes are counted as they are read."""

    def __init__(self, path: Path, advance: Advance) -> None:
        super().__init__(path)
        self._count = _Megabytes(advance)

    def readinto(self, buffer: Any, /) -> int:
        num_bytes = super().readinto(buffer) or 0
        self._count.add(num_bytes)
        return num_bytes
