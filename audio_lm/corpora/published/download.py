"""Files fetched from their publishers: once, resumable, checked against the publisher's sum, unpacked whole.

A download that was cut off goes on where it stopped if the server can do that.
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
from audio_lm.corpora.settings import Report

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Archive:
    """A file that a publisher offers."""

    url: str

    md5: str | None = None
    """In hexadecimal, where the publisher gives it."""

    sha256: str | None = None
    """In hexadecimal, where the publisher gives it."""

    @property
    def file_name(self) -> str:
        """Of the file on our side."""
        return self.url.partition("?")[0].rpartition("/")[2]


def download(archive: Archive, path: Path, report: Report, *, otherwise: str) -> Path:
    """The file behind an address, fetched unless it is there.

    Args:
        otherwise: what somebody can do who cannot download; ends the message.

    Raises:
        DataError: it cannot be fetched (what came so far is kept), or its sum is wrong.
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
            f"{archive.url} could not be downloaded ({error}) -- start again to go on with the download, or {otherwise}"
        ) from error
    _check_sum(archive, partial)
    sync_file(partial)
    partial.rename(path)
    return path


def unpack(path: Path, folder: Path, report: Report) -> Path:
    """The folder an archive was unpacked into: whole, or not at all.

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
        raise DataError(f"{path} is not a whole archive ({error}) -- delete it and start again") from error
    return folder


def _fetch(url: str, partial: Path) -> None:
    """Go on with a partial file, or start again where the server does not know how to go on."""
    num_bytes = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={num_bytes}-"} if num_bytes else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # everything is here: only the renaming was missed
        raise
    with answer:
        goes_on = getattr(answer, "status", None) == http.HTTPStatus.PARTIAL_CONTENT
        with partial.open("ab" if goes_on else "wb") as file:
            shutil.copyfileobj(answer, file)
        expected = answer.headers.get("Content-Length")
        written = partial.stat().st_size - (num_bytes if goes_on else 0)
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
                f"{archive.url} came with {kind} {found} -- its publisher gives {expected}; the file was removed, start again"
            )
