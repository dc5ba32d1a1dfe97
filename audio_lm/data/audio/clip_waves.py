"""Waves of clips that are in no cut-set: a file, its bytes, or an array of a microphone.

They are decoded, mixed to one channel and resampled to 16 kHz as the clips of cut-sets are.
"""

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from lhotse.augmentation import Resample

from audio_lm.common.audio_units import (
    MAX_SAMPLES,
    MAX_SECONDS,
    MIN_FRAMES,
    SAMPLES_PER_FRAME,
    SAMPLES_PER_SECOND,
    frames_in,
)
from audio_lm.common.errors import DataError
from audio_lm.data.audio import decode
from audio_lm.data.audio.decode import Wave
from audio_lm.data.audio.errors import AudioError
from audio_lm.data.manifest.index import LongAudio
from audio_lm.data.manifest.json_lines import InvalidLineError
from audio_lm.data.manifest.transforms import check_rate

AudioInput = str | Path | bytes | np.ndarray[Any, Any]
CHANNELS = ("average", "left", "right")


def read_wave(
    audio: AudioInput,
    *,
    rate: int | None = None,
    channel: str = "average",
    name: str | None = None,
    target: int = SAMPLES_PER_SECOND,
) -> Wave:
    """Samples (S,) of a whole clip, float32.

    Args:
        audio: a path, the bytes of a file in any format that ``decode`` reads, or samples (S,) or (S, C), integers with
            full scale or floats.
        rate: sampling rate of an array, in Hz.
        channel: ``average``, ``left`` or ``right``, for audio of several channels.
        name: for messages.
        target: sampling rate of the result.

    Raises:
        DataError: it is no audio, or has values that are not finite.
    """
    if channel not in CHANNELS:
        raise DataError(f"channel {channel!r} -- expected one of {', '.join(CHANNELS)}; choose one")
    if isinstance(audio, np.ndarray):
        name = name or "the array"
        wave, found = _as_channels(audio, name), rate or SAMPLES_PER_SECOND
    else:
        name = name or ("the audio" if isinstance(audio, bytes) else str(audio))
        wave, found = _decoded(audio, name)
    try:
        check_rate(found)
    except InvalidLineError as error:
        raise DataError(f"{name}: {error}; convert it") from error
    if not np.isfinite(wave).all():
        raise DataError(f"{name} has values that are not finite; record it again")
    mono = _mono(wave, channel)
    if found != target:
        num_samples = decode.samples_at(mono.shape[1] / found, target)
        mono = Resample(found, target)(mono)[:, :num_samples]
    return np.ascontiguousarray(mono[0], dtype=np.float32)


def split_long(wave: Wave, rule: LongAudio, *, name: str) -> list[Wave]:
    """Clips of at most 30 s.

    Args:
        rule: for a wave over 30 s: ``error`` and ``drop`` refuse it, ``truncate`` keeps its start, ``chunk`` cuts it into
            clips of 30 s.

    Raises:
        DataError: the wave is too short for one audio token, or too long for the rule.
    """
    if frames_in(len(wave)) < MIN_FRAMES:
        raise DataError(
            f"{name}: {len(wave) / SAMPLES_PER_SECOND:.3f} s is too short -- expected at least "
            f"{MIN_FRAMES * SAMPLES_PER_FRAME / SAMPLES_PER_SECOND} s; record more"
        )
    if len(wave) <= MAX_SAMPLES:
        return [wave]
    if rule == "truncate":
        return [wave[:MAX_SAMPLES]]
    if rule == "chunk":
        count = math.ceil(len(wave) / MAX_SAMPLES)
        chunks = [wave[number * MAX_SAMPLES : (number + 1) * MAX_SAMPLES] for number in range(count)]
        return [chunk for chunk in chunks if frames_in(len(chunk)) >= MIN_FRAMES]
    raise DataError(
        f"{name}: {len(wave) / SAMPLES_PER_SECOND:.1f} s is longer than the encoder's {MAX_SECONDS:.0f} s; cut it, or choose "
        f"long audio truncate (its first {MAX_SECONDS:.0f} s) or chunk (several clips)"
    )


def _decoded(audio: str | Path | bytes, name: str) -> tuple[Wave, int]:
    place = BytesIO(audio) if isinstance(audio, bytes) else str(audio)
    try:
        decode.measure(place, name=name)
        found = decode.read(place, name=name)
    except (AudioError, OSError) as error:
        raise DataError(f"{error}; give a file with audio") from error
    return found.wave, found.rate


def _as_channels(samples: np.ndarray[Any, Any], name: str) -> Wave:
    """(C, S) floats of an array (S,) or (S, C)."""
    if samples.ndim not in (1, 2) or samples.size == 0 or samples.dtype.kind not in "iuf":
        raise DataError(
            f"{name} has shape {samples.shape} and type {samples.dtype} -- expected numbers (S,) or (S, C); record it again"
        )
    columns = samples[:, None] if samples.ndim == 1 else samples
    if samples.dtype.kind == "f":
        return columns.T.astype(np.float32)
    info = np.iinfo(samples.dtype)
    middle = (float(info.max) + 1 + info.min) / 2
    return ((columns.T.astype(np.float64) - middle) / (float(info.max) + 1 - middle)).astype(np.float32)


def _mono(wave: Wave, channel: str) -> Wave:
    """(1, S) average or one channel; the last where there are fewer."""
    if channel == "average":
        return wave.mean(axis=0, keepdims=True)
    number = min(int(channel == "right"), len(wave) - 1)
    return wave[number : number + 1]
