"""Edits of spans of a wave: deletion, a tone over them, another wave in their place.

Outside of the spans and of the short crossfades at their borders, no sample changes.

Shapes: C channels, N samples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import DataError
from audio_lm.common.files import atomic_write
from audio_lm.data.audio.decode import Wave, samples_at

FADE: Seconds = 0.01  # of a crossfade, outside of the span
BLEEP_HERTZ = 1000.0
BLEEP_LEVEL = 0.1  # root mean square; full scale is 1
FORMATS = {".wav": "WAV", ".flac": "FLAC"}
TimeSpan = tuple[Seconds, Seconds]
_INT32 = 1 << 31


def delete_spans(wave: Wave, rate: int, spans: Sequence[TimeSpan], *, fade: Seconds = FADE) -> Wave:
    """Remove spans (C, N), with a crossfade of the audio before and after each."""
    return _join(_kept(wave, rate, spans), samples_at(fade, rate))


def replace_spans(
    wave: Wave, rate: int, spans: Sequence[TimeSpan], other: Wave, *, fade: Seconds = FADE
) -> Wave:
    """Put another wave (C, M) in the place of each span, with crossfades at its ends."""
    parts: list[Wave] = []
    for kept in _kept(wave, rate, spans):
        parts += [kept, other]
    return _join(parts[:-1], samples_at(fade, rate))


def bleep_spans(wave: Wave, rate: int, spans: Sequence[TimeSpan], *, fade: Seconds = FADE) -> Wave:
    """Put a tone over spans; the length does not change."""
    num_fade = samples_at(fade, rate)
    ramp = np.linspace(0, 1, num_fade + 2)[1:-1]
    edited = wave.copy()
    for start, end in _places(wave, rate, spans):
        first, last = max(0, start - num_fade), min(wave.shape[1], end + num_fade)
        level = np.concatenate(
            [ramp[num_fade - (start - first) :], np.ones(end - start), ramp[::-1][: last - end]]
        )
        tone = BLEEP_LEVEL * np.sqrt(2) * np.sin(2 * np.pi * BLEEP_HERTZ * np.arange(last - first) / rate)
        edited[:, first:last] = edited[:, first:last] * (1 - level) + tone * level
    return edited


def check_target(path: Path) -> None:
    """Check the name of a file to write.

    Raises:
        DataError: the file exists, or its suffix is not ``.wav`` or ``.flac``.
    """
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path} -- expected a name that ends in {' or '.join(FORMATS)}; rename it")
    if path.exists():
        raise DataError(
            f"{path} exists -- expected a new file, because no audio is overwritten; choose another name"
        )


def write_edited(path: Path, wave: Wave, rate: int, *, source: Path) -> None:
    """Write a wave to a new file, with the resolution of the file that it comes from.

    Raises:
        DataError: as of ``check_target``.
    """
    check_target(path)
    kind, subtype = FORMATS[path.suffix.lower()], _subtype(source)
    subtype = subtype if soundfile.check_format(kind, subtype) else "PCM_16"
    samples = wave.T if subtype in ("FLOAT", "DOUBLE") else _as_int32(wave.T)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        soundfile.write(file, samples, rate, format=kind, subtype=subtype)


def _subtype(source: Path) -> str:
    try:
        return str(soundfile.info(str(source)).subtype)
    except soundfile.LibsndfileError:  # a format that FFmpeg decodes
        return "PCM_16"


def _as_int32(samples: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Integers in the scale of the decoder, so that samples of the source are written as they were."""
    return np.rint(samples.astype(np.float64) * _INT32).clip(-_INT32, _INT32 - 1).astype(np.int32)


def _places(wave: Wave, rate: int, spans: Sequence[TimeSpan]) -> list[tuple[int, int]]:
    """Spans in samples, ordered and within the wave; overlapping ones are merged.

    Raises:
        ValueError: a span ends before it starts.
    """
    places: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if end < start:
            raise ValueError(f"span {start} to {end} s -- expected an end after the start")
        first, last = (min(max(0, samples_at(place, rate)), wave.shape[1]) for place in (start, end))
        if places and first <= places[-1][1]:
            places[-1] = (places[-1][0], max(last, places[-1][1]))
        else:
            places.append((first, last))
    return places


def _kept(wave: Wave, rate: int, spans: Sequence[TimeSpan]) -> list[Wave]:
    """Parts between the spans, empty ones included."""
    places = _places(wave, rate, spans)
    starts, ends = [0, *(end for _, end in places)], [*(start for start, _ in places), wave.shape[1]]
    return [wave[:, start:end] for start, end in zip(starts, ends, strict=True)]


def _join(parts: Sequence[Wave], num_fade: int) -> Wave:
    """Concatenate parts with crossfades, shorter where a part is."""
    joined = parts[0]
    for part in parts[1:]:
        count = min(num_fade, joined.shape[1] // 2, part.shape[1] // 2)
        ramp = np.linspace(0, 1, count + 2)[1:-1].astype(np.float32)
        middle = joined[:, joined.shape[1] - count :] * (1 - ramp) + part[:, :count] * ramp
        joined = np.concatenate([joined[:, : joined.shape[1] - count], middle, part[:, count:]], axis=1)
    return joined
