"""Single notes of five synthetic instruments, named after families of NSynth.

A note is determined by its labels pitch (MIDI), velocity, instrument and qualities, with random variation between
instruments of the same kind. Qualities are named as in NSynth where it has them.

Source: NSynth, arXiv:1704.01279, section 3 (labels).
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds, samples_in
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.waves import (
    Floats,
    add_reverb,
    fade,
    gain_of,
    harmonic_tone,
    noise,
    normalize_peak,
    oscillator_phase,
    sample_times,
)
from audio_lm.data.audio.decode import Wave

LOWEST_PITCH, HIGHEST_PITCH = 48, 72
VELOCITIES = (32, 64, 96, 120)
NUM_PARTIALS = 24


@dataclass(frozen=True, kw_only=True)
class Timbre:
    """Parameters of an instrument."""

    slope: float
    """Slope of the partials in dB per octave."""

    even: float = 0.0
    """Gain of even partials in dB."""

    drawbars: tuple[int, ...] = ()
    """Partials amplified by 18 dB."""

    attack: Seconds
    """Duration of the attack."""

    decay: float = 0.0
    """Decay in dB per second while the note is held."""

    dulling: float = 0.0
    """Change of the slope in dB per octave and second; negative values make the tone brighter over time."""

    vibrato_cents: float = 0.0
    """Depth of the vibrato."""

    breath: float | None = None
    """Level of breath noise in dB, relative to the tone; None for no noise."""


INSTRUMENTS: dict[str, Timbre] = {
    "guitar": Timbre(slope=-5, attack=0.003, decay=20, dulling=7),
    "organ": Timbre(slope=-8, drawbars=(1, 2, 4, 6, 8, 16), attack=0.02),
    "flute": Timbre(slope=-14, attack=0.09, vibrato_cents=20, breath=-38),
    "brass": Timbre(slope=-3, attack=0.06, dulling=-5, vibrato_cents=6),
    "bass": Timbre(slope=-9, even=-14, attack=0.006, decay=8, dulling=8),
}

QUALITIES = ("bright", "dark", "fast_decay", "long_release", "percussive", "reverb", "tremolo")


def make_note(
    pitch: int,
    velocity: int,
    instrument: str,
    qualities: Collection[str],
    num_samples: int,
    random: SplitRandom,
) -> Wave:
    """Generate a note; its peak is (velocity / 127) squared.

    Args:
        qualities: of ``QUALITIES``.
    """
    timbre = INSTRUMENTS[instrument]
    hertz = frequency_of(pitch) * 2 ** (random.uniform(-6, 6) / 1_200)
    wave = _held_tone(timbre, hertz, velocity, qualities, num_samples, random)
    if timbre.breath is not None:
        breath = noise(num_samples, random.rng, low_hz=hertz, high_hz=3_000)
        wave += breath * np.float32(gain_of(timbre.breath + random.uniform(-3, 3)))
    if "tremolo" in qualities:
        swing = np.sin(2 * np.pi * (random.uniform(5, 7) * sample_times(num_samples) + random.uniform(0, 1)))
        wave = wave * (0.65 + 0.35 * swing).astype(np.float32)
    wave = wave * _envelope(timbre, qualities, num_samples)
    if "percussive" in qualities:
        num_knock = min(num_samples, samples_in(0.03))
        knock = noise(num_knock, random.rng, slope=-3, low_hz=200)
        wave[:num_knock] += 0.5 * fade(knock, attack=0.001, release=0.025)
    if "reverb" in qualities:
        wave = add_reverb(wave, random.rng, seconds=random.uniform(0.5, 0.8), wet=0.5)
    return normalize_peak(fade(wave, attack=0.002, release=0.01), (velocity / 127) ** 2)


def frequency_of(pitch: float) -> float:
    """Fundamental frequency in Hz; pitch 69 is A4, 440 Hz.

    >>> frequency_of(69), round(frequency_of(60), 1)
    (440.0, 261.6)
    """
    return float(440.0 * 2 ** ((pitch - 69) / 12))


def _held_tone(
    timbre: Timbre,
    hertz: float,
    velocity: int,
    qualities: Collection[str],
    num_samples: int,
    random: SplitRandom,
) -> Wave:
    """Tone without envelope, crossfaded from its first spectrum to its last, with peak 1."""
    slope = timbre.slope + random.uniform(-1, 1) + 2 * np.log2(velocity / 96)
    slope += 4 * ("bright" in qualities) - 4 * ("dark" in qualities)
    last_slope = slope - timbre.dulling * num_samples / SAMPLES_PER_SECOND
    deviation, phases = 3 * (random.uniforms(NUM_PARTIALS) - 0.5), random.uniforms(NUM_PARTIALS)
    seconds = sample_times(num_samples)
    swing = timbre.vibrato_cents * np.sin(
        2 * np.pi * (random.uniform(4.5, 6) * seconds + random.uniform(0, 1))
    )
    phase = oscillator_phase(hertz * np.exp2(swing / 1_200) if timbre.vibrato_cents else hertz, num_samples)
    last = _partials(timbre, last_slope, deviation) if timbre.dulling else None
    first = _partials(timbre, slope, deviation)
    return normalize_peak(
        harmonic_tone(phase, first, highest_hz=1.02 * hertz, phases=phases, last_amplitudes=last)
    )


def _partials(timbre: Timbre, slope: float, deviation: Floats) -> Floats:
    """Amplitudes of the partials; their squares sum to one.

    Args:
        deviation: (NUM_PARTIALS,) in dB, of this particular instrument.
    """
    numbers = np.arange(1, NUM_PARTIALS + 1)
    decibels = slope * np.log2(numbers) + timbre.even * (numbers % 2 == 0) + deviation
    if timbre.drawbars:
        decibels = decibels + 18 * np.isin(numbers, timbre.drawbars)
    amplitudes = 10 ** (decibels / 20)
    return np.asarray(amplitudes / np.sqrt(np.sum(amplitudes**2)))


def _envelope(timbre: Timbre, qualities: Collection[str], num_samples: int) -> Wave:
    """Attack, decay while the note is held, and release."""
    seconds = sample_times(num_samples)
    end = num_samples / SAMPLES_PER_SECOND
    hold_end, release_rate = (0.55 * end, 60.0) if "long_release" in qualities else (0.9 * end, 400.0)
    rate = timbre.decay + 45.0 * ("fast_decay" in qualities)
    decibels = -rate * seconds - release_rate * np.maximum(0.0, seconds - hold_end)
    return (np.minimum(1.0, seconds / timbre.attack) * 10 ** (decibels / 20)).astype(np.float32)
