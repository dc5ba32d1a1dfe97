"""Oscillators, noise, envelopes and reverberation in NumPy, without labels.

Waves are float32 at 16 kHz. A periodic tone is a wavetable of one period that is read at the speed of its pitch, so
that thirty partials cost as much as one. No partial is above half the sampling rate.
"""

from typing import Any

import numpy as np

from audio_lm.common.audio_units import SAMPLES_PER_FRAME, SAMPLES_PER_SECOND, Seconds, samples_in
from audio_lm.data.audio.decode import Wave

Floats = np.ndarray[Any, np.dtype[Any]]

PERIOD = 4096  # entries of a wavetable
HIGHEST_HZ = 7_600.0  # higher partials are dropped


def sample_times(num_samples: int) -> Floats:
    """Time of each sample in seconds."""
    return np.arange(num_samples) / SAMPLES_PER_SECOND


def oscillator_phase(hertz: Floats | float, num_samples: int, *, start: float = 0.0) -> Floats:
    """Phase of an oscillator at each sample, in periods.

    Args:
        hertz: constant frequency, or (num_samples,) for a varying one.
    """
    if np.ndim(hertz) == 0:
        return start + np.arange(num_samples) * (float(hertz) / SAMPLES_PER_SECOND)
    return start + np.cumsum(hertz) / SAMPLES_PER_SECOND


def sine(phase: Floats) -> Wave:
    """Sine of a phase in periods, which is reduced before it loses precision in float32."""
    return np.sin((2 * np.pi * (phase % 1.0)).astype(np.float32))


def harmonic_tone(
    phase: Floats,
    amplitudes: Floats,
    *,
    highest_hz: float,
    phases: Floats | float = 0.0,
    last_amplitudes: Floats | None = None,
) -> Wave:
    """Tone of harmonic partials.

    Args:
        amplitudes: of partials 1, 2, ...; partials above ``HIGHEST_HZ`` are dropped.
        highest_hz: highest fundamental frequency in the tone.
        phases: of the partials, in periods.
        last_amplitudes: amplitudes at the end of the tone, for a crossfade.
    """
    num_partials = max(1, min(len(amplitudes), int(HIGHEST_HZ / highest_hz)))
    position = ((phase % 1.0) * PERIOD).astype(np.float32)
    index = np.minimum(position.astype(np.int32), PERIOD - 1)
    fraction = position - index
    rotations = np.exp(2j * np.pi * (np.zeros(len(amplitudes)) + phases))[:num_partials]
    first = _read_wavetable(_wavetable(amplitudes[:num_partials] * rotations), index, fraction)
    if last_amplitudes is None:
        return first
    last = _read_wavetable(_wavetable(last_amplitudes[:num_partials] * rotations), index, fraction)
    return first + np.linspace(0, 1, len(first), dtype=np.float32) * (last - first)


def noise(
    num_samples: int,
    rng: np.random.Generator,
    *,
    slope: float = 0.0,
    low_hz: float = 20.0,
    high_hz: float = HIGHEST_HZ,
) -> Wave:
    """Gaussian noise with a spectral slope and root mean square 1.

    Args:
        slope: dB per octave; 0 is white, -3 is pink.
        low_hz: lower limit of the spectrum.
        high_hz: upper limit of the spectrum.
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
    """Exponential envelope that falls by ``decibels``."""
    return np.exp(np.linspace(0.0, -decibels / 8.686, num_samples, dtype=np.float32))


def fade(wave: Wave, *, attack: Seconds = 0.005, release: Seconds = 0.005) -> Wave:
    """Copy a wave with a linear ramp at both ends, to avoid clicks."""
    faded_wave = wave.astype(np.float32)
    for ramp_seconds, part in ((attack, faded_wave), (release, faded_wave[::-1])):
        num = min(samples_in(ramp_seconds), len(wave))
        part[:num] *= np.arange(1, num + 1, dtype=np.float32) / num
    return faded_wave


def add_reverb(wave: Wave, rng: np.random.Generator, *, seconds: Seconds, wet: float) -> Wave:
    """Add reverberation: the impulse response is noise that decays by 60 dB.

    Args:
        seconds: length of the impulse response.
        wet: level of the reverberation, relative to the direct sound.

    Source: Moorer, "About This Reverberation Business", 1979.
    """
    num_response = samples_in(seconds)
    response = rng.standard_normal(num_response, dtype=np.float32) * decay_envelope(
        num_response, decibels=60.0
    )
    response /= np.sqrt(np.sum(response**2))
    length = _fast_length(len(wave) + num_response)
    room = np.fft.irfft(np.fft.rfft(wave, length) * np.fft.rfft(response, length), length)[: len(wave)]
    return (wave + wet * room).astype(np.float32)


def repeat_at(num_samples: int, starts: Floats, gains: Floats, kernel: Wave) -> Wave:
    """Repeat a short sound at given starts; it is truncated at the end."""
    wave = np.zeros(num_samples + len(kernel), dtype=np.float32)
    for start, gain in zip(starts, gains, strict=True):
        wave[int(start) : int(start) + len(kernel)] += np.float32(gain) * kernel
    return wave[:num_samples]


def normalize_peak(wave: Wave, peak: float = 1.0) -> Wave:
    """Scale a wave to a given peak; silence stays silent."""
    return wave * np.float32(peak / max(float(np.max(np.abs(wave))), 1e-9))


def root_mean_square(wave: Wave) -> float:
    """Root mean square of a wave."""
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float32))))


def gain_of(decibels: float) -> float:
    """Convert a gain in dB to a factor.

    >>> round(gain_of(-20.0), 3)
    0.1
    """
    return float(10.0 ** (decibels / 20.0))


def in_whole_frames(seconds: Seconds) -> int:
    """Number of samples, rounded to whole frames of 10 ms so that labels in seconds are exact."""
    return round(samples_in(seconds) / SAMPLES_PER_FRAME) * SAMPLES_PER_FRAME


def _wavetable(partials: Floats) -> Wave:
    """Wavetable of one period; its first entry is repeated at the end.

    Args:
        partials: complex amplitudes of partials 1, 2, ...
    """
    spectrum = np.zeros(PERIOD // 2 + 1, dtype=np.complex64)
    spectrum[1 : len(partials) + 1] = -0.5j * PERIOD * partials
    table = np.fft.irfft(spectrum, PERIOD).astype(np.float32)
    return np.concatenate([table, table[:1]])


def _read_wavetable(table: Wave, index: Floats, fraction: Floats) -> Wave:
    """Read a wavetable with linear interpolation."""
    steps = np.diff(table)
    return np.asarray(table[index] + fraction * steps[index], dtype=np.float32)


def _fast_length(num: int) -> int:
    """Next length with a fast Fourier transform.

    >>> _fast_length(40_000), _fast_length(16_000)
    (40960, 16384)
    """
    octave = 1 << max(0, num.bit_length() - 4)
    return next(eighths * octave for eighths in (8, 9, 10, 12, 15, 16) if eighths * octave >= num)
