"""Oscillators, noise, envelopes and reverberation, by numpy.

Everything that makes a synthetic sound and knows nothing of labels. Waves are
float32 at 16 kHz. A periodic tone is one period in a table, read at the speed of
its pitch: thirty partials cost as much as one, and none lies above half the
sampling rate.
"""

from typing import Any

import numpy as np

from audio_lm.common.audio_units import SAMPLES_PER_FRAME, SAMPLES_PER_SECOND, Seconds, samples_in
from audio_lm.data.audio.decode import Wave

Floats = np.ndarray[Any, np.dtype[Any]]

PERIOD = 4096  # entries of a table
HIGHEST_HZ = 7_600.0  # partials above are left out


def sample_times(num_samples: int) -> Floats:
    """The time of each sample."""
    return np.arange(num_samples) / SAMPLES_PER_SECOND


def oscillator_phase(hertz: Floats | float, num_samples: int, *, start: float = 0.0) -> Floats:
    """Where an oscillator stands at each sample, in periods.

    Args:
        hertz: constant, or (num_samples,) for a gliding one.
    """
    if np.ndim(hertz) == 0:
        return start + np.arange(num_samples) * (float(hertz) / SAMPLES_PER_SECOND)
    return start + np.cumsum(hertz) / SAMPLES_PER_SECOND


def sine(phase: Floats) -> Wave:
    """A pure tone; phases are reduced before they lose precision in float32."""
    return np.sin((2 * np.pi * (phase % 1.0)).astype(np.float32))


def harmonic_tone(
    phase: Floats,
    amplitudes: Floats,
    *,
    highest_hz: float,
    phases: Floats | float = 0.0,
    last_amplitudes: Floats | None = None,
) -> Wave:
    """A tone of harmonic partials.

    Args:
        amplitudes: of partials 1, 2, ...; those that pass ``HIGHEST_HZ`` are dropped.
        highest_hz: the highest fundamental on the way.
        phases: of the partials, in periods.
        last_amplitudes: what the colour of the tone changes to on the way.
    """
    num_partials = max(1, min(len(amplitudes), int(HIGHEST_HZ / highest_hz)))
    place = ((phase % 1.0) * PERIOD).astype(np.float32)
    index = np.minimum(place.astype(np.int32), PERIOD - 1)
    share = place - index
    turns = np.exp(2j * np.pi * (np.zeros(len(amplitudes)) + phases))[:num_partials]
    first = _read(_period(amplitudes[:num_partials] * turns), index, share)
    if last_amplitudes is None:
        return first
    last = _read(_period(last_amplitudes[:num_partials] * turns), index, share)
    return first + np.linspace(0, 1, len(first), dtype=np.float32) * (last - first)


def noise(
    num_samples: int,
    rng: np.random.Generator,
    *,
    slope: float = 0.0,
    low_hz: float = 20.0,
    high_hz: float = HIGHEST_HZ,
) -> Wave:
    """Gaussian noise of a colour, root mean square 1.

    Args:
        slope: decibels per octave; 0 is white, -3 is pink.
        low_hz: nothing below.
        high_hz: nothing above.
    """
    length = _fast_length(num_samples)
    hertz = np.fft.rfftfreq(length, 1 / SAMPLES_PER_SECOND).astype(np.float32)
    gains = np.where(
        (hertz >= low_hz) & (hertz <= high_hz), np.maximum(hertz, 1.0) ** np.float32(slope / 6.02), 0
    )
    spectrum = rng.standard_normal(2 * len(hertz), dtype=np.float32).view(np.complex64) * gains.astype(
        np.float32
    )
    wave = np.fft.irfft(spectrum, length)[:num_samples].astype(np.float32)
    return wave / max(root_mean_square(wave), 1e-9)


def decay_envelope(num_samples: int, *, decibels: float) -> Wave:
    """An envelope that has fallen by so much at its end."""
    return np.exp(np.linspace(0.0, -decibels / 8.686, num_samples, dtype=np.float32))


def fade(wave: Wave, *, attack: Seconds = 0.005, release: Seconds = 0.005) -> Wave:
    """The same with a ramp at both ends, so that it does not click."""
    faded_wave = wave.astype(np.float32)
    for ramp_seconds, part in ((attack, faded_wave), (release, faded_wave[::-1])):
        num = min(samples_in(ramp_seconds), len(wave))
        part[:num] *= np.arange(1, num + 1, dtype=np.float32) / num
    return faded_wave


def add_reverb(wave: Wave, rng: np.random.Generator, *, seconds: Seconds, wet: float) -> Wave:
    """The same in a room: noise that decays by 60 dB is the room's answer to a click.

    Args:
        wet: level of the room beside the direct sound.

    Source: Moorer, "About This Reverberation Business", 1979.
    """
    num_answer = samples_in(seconds)
    answer = rng.standard_normal(num_answer, dtype=np.float32) * decay_envelope(num_answer, decibels=60.0)
    answer /= np.sqrt(np.sum(answer**2))
    length = _fast_length(len(wave) + num_answer)
    room = np.fft.irfft(np.fft.rfft(wave, length) * np.fft.rfft(answer, length), length)[: len(wave)]
    return (wave + wet * room).astype(np.float32)


def repeat_at(num_samples: int, starts: Floats, gains: Floats, kernel: Wave) -> Wave:
    """The same short sound again and again; what would pass the end is cut off."""
    wave = np.zeros(num_samples + len(kernel), dtype=np.float32)
    for start, gain in zip(starts, gains, strict=True):
        wave[int(start) : int(start) + len(kernel)] += np.float32(gain) * kernel
    return wave[:num_samples]


def normalize_peak(wave: Wave, peak: float = 1.0) -> Wave:
    """The same at a given loudest point; silence stays silent."""
    return wave * np.float32(peak / max(float(np.max(np.abs(wave))), 1e-9))


def root_mean_square(wave: Wave) -> float:
    """Level of a wave."""
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float32))))


def gain_of(decibels: float) -> float:
    """Factor of an amplitude.

    >>> round(gain_of(-20.0), 3)
    0.1
    """
    return float(10.0 ** (decibels / 20.0))


def in_whole_frames(seconds: Seconds) -> int:
    """Samples of the nearest whole number of 10 ms frames, so that labels in seconds are exact."""
    return round(samples_in(seconds) / SAMPLES_PER_FRAME) * SAMPLES_PER_FRAME


def _period(partials: Floats) -> Wave:
    """One period of a tone, and its first entry again behind the last.

    Args:
        partials: complex amplitudes of partials 1, 2, ...
    """
    spectrum = np.zeros(PERIOD // 2 + 1, dtype=np.complex64)
    spectrum[1 : len(partials) + 1] = -0.5j * PERIOD * partials
    table = np.fft.irfft(spectrum, PERIOD).astype(np.float32)
    return np.concatenate([table, table[:1]])


def _read(table: Wave, index: Floats, share: Floats) -> Wave:
    """Between the entries of a table."""
    steps = np.diff(table)
    return np.asarray(table[index] + share * steps[index], dtype=np.float32)


def _fast_length(num: int) -> int:
    """The next length at which a Fourier transform is quick.

    >>> _fast_length(40_000), _fast_length(16_000)
    (40960, 16384)
    """
    octave = 1 << max(0, num.bit_length() - 4)
    return next(eighths * octave for eighths in (8, 9, 10, 12, 15, 16) if eighths * octave >= num)
