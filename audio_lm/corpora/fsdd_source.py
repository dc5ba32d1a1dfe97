"""Find and read the recordings of the Free Spoken Digit Dataset.

They are in a folder given by the user, in ``$AUDIO_LM_DATA/fsdd``, or in the archive of the public repository,
which is downloaded once and kept.
"""

import io
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from audio_lm.common.errors import DataError
from audio_lm.common.protocols import Report
from audio_lm.corpora.published.download import Archive, download
from audio_lm.data.audio.decode import Wave

ARCHIVE_URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/heads/master.tar.gz"
RECORDED_SAMPLES_PER_SECOND = 8_000
FILE_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<take>\d+)\.(?:wav|flac)")
ALTERNATIVE = "set AUDIO_LM_DATA to a folder with fsdd/ in it, or corpora.fsdd.source to the recordings"


class RecordedDigit(NamedTuple):
    """Recording of one digit by one speaker."""

    digit: int
    speaker: str
    take: int
    wave: Wave
    """Sampled at 8 kHz."""


def load_recordings(source: str, url: str, downloads: Path, report: Report) -> list[RecordedDigit]:
    """All recordings, sorted by digit, speaker and take.

    Args:
        source: folder of recordings; if empty, ``$AUDIO_LM_DATA/fsdd`` or a download.
        downloads: folder for the archive.

    Raises:
        DataError: the folder has no recordings, a file is unreadable, or the download failed.
    """
    folder = Path(source) if source else _shared_folder()
    if folder is None:
        archive = download(Archive(url), downloads / "fsdd.tar.gz", report, alternative=ALTERNATIVE)
        origin, recorded = url, list(_read_archive(archive))
    else:
        report(f"fsdd: reading {folder}")
        origin, recorded = str(folder), list(_read_folder(folder))
    if not recorded:
        raise DataError(
            f"{origin} contains no recordings -- expected files such as 0_theo_0.wav; set corpora.fsdd.source "
            f"to the folder 'recordings' of the Free Spoken Digit Dataset"
        )
    return sorted(recorded, key=lambda digit: digit[:3])


def _shared_folder() -> Path | None:
    """Folder ``fsdd`` of the shared data, if it exists."""
    shared = os.environ.get("AUDIO_LM_DATA")
    folder = Path(shared) / "fsdd" if shared else None
    return folder if folder is not None and folder.is_dir() else None


def _read_folder(folder: Path) -> Iterator[RecordedDigit]:
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder -- expected the recordings of fsdd; correct corpora.fsdd.source"
        )
    for path in folder.iterdir():
        if match := FILE_NAME.fullmatch(path.name):
            yield _read_recording(match, path.read_bytes(), str(path))


def _read_archive(path: Path) -> Iterator[RecordedDigit]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                match = FILE_NAME.fullmatch(Path(member.name).name)
                if match and (file := archive.extractfile(member)):
                    yield _read_recording(match, file.read(), f"{path}:{member.name}")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(
            f"{path} is not a complete archive ({error}) -- delete it and run the command again"
        ) from error


def _read_recording(match: re.Match[str], content: bytes, origin: str) -> RecordedDigit:
    try:
        wave, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    except soundfile.LibsndfileError as error:
        raise DataError(f"{origin} cannot be read as audio ({error}) -- replace the file") from error
    if rate != RECORDED_SAMPLES_PER_SECOND or wave.ndim != 1 or not len(wave):
        raise DataError(
            f"{origin} has {rate} Hz and shape {wave.shape} -- expected 8000 Hz mono; replace the file"
        )
    return RecordedDigit(int(match["digit"]), match["speaker"], int(match["take"]), np.asarray(wave))
