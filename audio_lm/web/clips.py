"""Audio of a conversation as the page shows it: a WAV file to play and a picture of its log-mel spectrogram.

Both are files of the session's folder, named by 128 random bits, because the address is all that is needed to read them.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from matplotlib.image import imsave

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds, frames_in
from audio_lm.common.errors import DataError
from audio_lm.data.audio import decode
from audio_lm.data.audio.clip_waves import read_wave, split_long
from audio_lm.data.audio.decode import Wave
from audio_lm.data.audio.errors import AudioError
from audio_lm.model.encoders.log_mel import LogMel
from audio_lm.model.encoders.packed_layout import packed_layout
from audio_lm.web.limits import MIB, Limits

NUM_MELS = 80  # of the picture


@dataclass(frozen=True)
class ShownClip:
    """One audio of a conversation."""

    token: str
    """Random name; ``<token>.wav`` and ``<token>.png`` are its files."""

    name: str
    """Name of the uploaded file, with a number where it is cut into several clips."""

    seconds: Seconds
    num_bytes: int
    """Size of the WAV file."""


def show_clips(upload: Path, folder: Path, limits: Limits) -> list[ShownClip]:
    """Decode an uploaded file and write the WAV files and pictures of its clips into a folder.

    Raises:
        DataError: no audio, damaged, too large, too short or too long; names the file.
    """
    name = upload.name
    if not upload.is_file():
        raise DataError(f"{name}: the upload is no longer there; upload it again")
    if upload.stat().st_size > limits.upload_bytes:
        size = upload.stat().st_size / MIB
        raise DataError(
            f"{name}: {size:.1f} MiB -- expected at most {limits.upload_mib:g} MiB; upload a shorter or compressed file"
        )
    _check_seconds(upload, limits.seconds)
    waves = split_long(read_wave(upload, name=name), limits.long_audio, name=name)
    names = [f"{name} ({part} of {len(waves)})" for part in range(1, len(waves) + 1)]
    return [
        _write(wave, folder, part if len(waves) > 1 else name)
        for wave, part in zip(waves, names, strict=True)
    ]


def _check_seconds(upload: Path, limit: Seconds) -> None:
    """Check the duration before any sample is kept: a small file may state hours of silence."""
    try:
        seconds = decode.measure(str(upload), name=upload.name).seconds
    except (AudioError, OSError) as error:
        reason = str(error).replace(str(upload), upload.name)
        raise DataError(f"{reason}; upload a file with audio") from error
    if seconds > limit:
        raise DataError(
            f"{upload.name}: {seconds:.1f} s -- expected at most {limit:g} s; upload a shorter part of it"
        )


def _write(wave_S: Wave, folder: Path, name: str) -> ShownClip:
    token = secrets.token_hex(16)
    wav = folder / f"{token}.wav"
    soundfile.write(wav, wave_S.clip(-1, 1), SAMPLES_PER_SECOND, subtype="PCM_16")
    imsave(folder / f"{token}.png", log_mel(wave_S).T, cmap="magma", origin="lower", format="png")
    return ShownClip(token, name, len(wave_S) / SAMPLES_PER_SECOND, wav.stat().st_size)


def log_mel(wave_S: Wave) -> np.ndarray:
    """(F, M) log-mel spectrogram of a clip."""
    rows = LogMel(NUM_MELS)(torch.from_numpy(wave_S), packed_layout((len(wave_S),)))
    return rows[1 : 1 + frames_in(len(wave_S))].numpy()
