"""Audio of a conversation as the page shows it: a WAV file to play and a picture of its log-mel spectrogram.

Both are files of the session's folder, named by 128 random bits, because whoever has the address may read them.
"""

import secrets
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from matplotlib.image import imsave
from scipy.signal import resample_poly

from audio_lm.common.audio_units import (
    MAX_SAMPLES,
    MIN_FRAMES,
    SAMPLES_PER_FRAME,
    SAMPLES_PER_SECOND,
    Seconds,
)
from audio_lm.common.errors import DataError
from audio_lm.data.audio import decode
from audio_lm.data.audio.errors import AudioError
from audio_lm.model.encoders.log_mel import LogMel
from audio_lm.model.encoders.packed_layout import packed_layout
from audio_lm.web.limits import MIB, Limits

NUM_MELS = 80  # of the picture
Wave = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ShownClip:
    """One audio of a conversation."""

    token: str
    """Random name; ``<token>.wav`` and ``<token>.png`` are its files."""

    name: str
    """Name of the uploaded file."""

    seconds: Seconds
    num_bytes: int
    """Size of the WAV file."""


def show_clip(path: Path, folder: Path, limits: Limits, *, name: str = "") -> ShownClip:
    """Decode an uploaded file and write its WAV file and picture into a folder.

    Args:
        name: of the upload, for messages; by default that of the file.

    Raises:
        DataError: no audio, damaged, too large, too short or too long; names the file.
    """
    name = name or path.name
    wave_S = read_wave(path, limits, name=name)
    token = secrets.token_hex(16)
    wav = folder / f"{token}.wav"
    soundfile.write(wav, wave_S, SAMPLES_PER_SECOND, subtype="PCM_16")
    imsave(folder / f"{token}.png", log_mel(wave_S).T, cmap="magma", origin="lower", format="png")
    return ShownClip(token, name, len(wave_S) / SAMPLES_PER_SECOND, wav.stat().st_size)


def read_wave(path: Path, limits: Limits, *, name: str) -> Wave:
    """Decode a file within the limits: 16 kHz, the average of its channels.

    Raises:
        DataError: no audio, damaged, too large, too short or too long; names the file.
    """
    if not path.is_file():
        raise DataError(f"{name}: the upload is no longer there; upload it again")
    if path.stat().st_size > limits.upload_bytes:
        size = path.stat().st_size / MIB
        raise DataError(
            f"{name}: {size:.1f} MiB -- expected at most {limits.upload_mib:g} MiB; upload a shorter or compressed file"
        )
    try:
        # A header may state any duration, so that the limit comes before the samples.
        measured = decode.measure(str(path))
        if measured.seconds > limits.seconds:
            raise DataError(
                f"{name}: {measured.seconds:.1f} s -- expected at most {limits.seconds:g} s; upload a shorter part"
            )
        decoded = decode.read(str(path))
    except (AudioError, OSError) as error:
        reason = str(error).replace(str(path), name)
        raise DataError(f"{reason}; upload a file with audio") from error
    wave_S: Any = decoded.wave.mean(axis=0)
    if decoded.rate != SAMPLES_PER_SECOND:
        common = gcd(decoded.rate, SAMPLES_PER_SECOND)
        wave_S = resample_poly(wave_S, SAMPLES_PER_SECOND // common, decoded.rate // common)
    if len(wave_S) < MIN_FRAMES * SAMPLES_PER_FRAME:
        raise DataError(
            f"{name}: {len(wave_S) / SAMPLES_PER_SECOND:.3f} s is too short for an audio token; upload a longer recording"
        )
    return wave_S.astype(np.float32).clip(-1, 1)


def log_mel(wave_S: Wave) -> npt.NDArray[np.float32]:
    """(F, M) log-mel spectrogram of a waveform of any length, computed in pieces of 30 s."""
    model, pieces = LogMel(NUM_MELS), []
    for start in range(0, len(wave_S), MAX_SAMPLES):
        piece_S = wave_S[start : start + MAX_SAMPLES]
        if len(piece_S) < MIN_FRAMES * SAMPLES_PER_FRAME:
            break
        rows = model(torch.from_numpy(piece_S), packed_layout((len(piece_S),)))
        pieces.append(rows[1 : 1 + -(-len(piece_S) // SAMPLES_PER_FRAME)].numpy())
    return np.concatenate(pieces)
