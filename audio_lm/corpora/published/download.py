"""Download and unpack archives: once, with checksums, atomically.

An interrupted download resumes if the server supports range requests.
"""

import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.common.files import partial_folder, put_folder, sync_file
from audio_lm.common.protocols import Report

TIMEOUT_SECONDS = 30


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
            if zipfile.is_zipfile(path):
                shutil.unpack_archive(path, partial, format="zip")
            else:
                shutil.unpack_archive(path, partial, format="tar", filter="data")
            put_folder(partial, folder)
    except (shutil.ReadError, tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
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
        with partial.open("ab" if is_resumed else "wb") as file:
            shutil.copyfileobj(response, file)
        expected = response.headers.get("Content-Length")
        written = partial.stat().st_size - (num_bytes if is_resumed else 0)
    if expected is not None and written < int(expected):
        raise http.client.IncompleteRead(b"", int(expected) - written)


def _check_sum(archive: Archive, partial: Path) -> None:
    for kind, expected in (("md5", archive.md5), ("sha256", archive.sha256)):
        if expected is None:
            continue
        with partial.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != expected:
            partial.unlink()
            raise DataError(
                f"{archive.url} has {kind} {found} -- expected {expected}; the file was removed, run the command again"
            )
