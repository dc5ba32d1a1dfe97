"""Generators of ten sound events and five backgrounds.

Each is a function of a length and a random generator. An event is audible from its first to its last sample, so that
its times are exact. Labels are made in ``sounds.py``.
"""

from collections.abc import Callable

import numpy as np

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, samples_in
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.waves import (
    add_reverb,
    decay_envelope,
    fade,
    gain_of,
    harmonic_tone,
    noise,
    normalize_peak,
    oscillator_phase,
    repeat_at,
    sample_times,
    sine,
)
from audio_lm.data.audio.decode import Wave

Sound = Callable[[int, SplitRandom], Wave]


def make_event(name: str, num_samples: int, random: SplitRandom) -> Wave:
    """Generate one of ``EVENTS`` with peak 1."""
    return normalize_peak(fade(EVENTS[name](num_samples, random), attack=0.001))


def make_scene(name: str, num_samples: int, random: SplitRandom) -> Wave:
    """Generate one of ``SCENES`` with peak 1."""
    return normalize_peak(fade(SCENES[name](num_samples, random)))


def _siren_sweep(num_samples: int, random: SplitRandom) -> Wave:
    centre, depth = random.log_uniform(550, 950), random.uniform(0.25, 0.4)
    swing = np.sin(2 * np.pi * (random.uniform(0, 1) + random.uniform(1.8, 3.2) * sample_times(num_samples)))
    hertz = centre * np.exp2(depth * swing)
    return harmonic_tone(
        oscillator_phase(hertz, num_samples), _partials(5, -8, random), highest_hz=1.4 * centre
    )


def _beep(num_samples: int, random: SplitRandom) -> Wave:
    hertz = random.log_uniform(900, 2_000)
    return harmonic_tone(oscillator_phase(hertz, num_samples), _partials(3, -12, random), highest_hz=hertz)


def _noise_burst(num_samples: int, random: SplitRandom) -> Wave:
    hiss = noise(num_samples, random.rng, slope=random.uniform(-4, 1), low_hz=random.log_uniform(100, 600))
    return hiss * decay_envelope(num_samples, decibels=random.uniform(6, 16))


def _click_train(num_samples: int, random: SplitRandom) -> Wave:
    """Clicks at equal distances, the last one at the end."""
    num_kernel = samples_in(0.02)
    ring = sine(oscillator_phase(random.log_uniform(1_200, 3_500), num_kernel)) * decay_envelope(
        num_kernel, decibels=30
    )
    num_clicks = max(2, round(random.uniform(7, 14) * num_samples / SAMPLES_PER_SECOND))
    starts = np.linspace(0, num_samples - num_kernel, num_clicks)
    return repeat_at(num_samples, starts, np.ones(num_clicks), ring)


def _chirp_up(num_samples: int, random: SplitRandom) -> Wave:
    low = random.log_uniform(300, 600)
    octaves = random.uniform(1.7, 2.4)
    hertz = low * np.exp2(np.linspace(0, octaves, num_samples))
    return harmonic_tone(
        oscillator_phase(hertz, num_samples), _partials(3, -12, random), highest_hz=float(hertz[-1])
    )


def _chirp_down(num_samples: int, random: SplitRandom) -> Wave:
    return _chirp_up(num_samples, random)[::-1]


def _low_hum(num_samples: int, random: SplitRandom) -> Wave:
    hertz = random.log_uniform(55, 105)
    wobble = 1 + 0.2 * sine(oscillator_phase(random.uniform(2, 6), num_samples))
    return wobble * harmonic_tone(
        oscillator_phase(hertz, num_samples), _partials(7, -7, random), highest_hz=hertz
    )


def _bell_tone(num_samples: int, random: SplitRandom) -> Wave:
    """Decaying inharmonic partials; higher ones decay faster.

    Source: ratios of a bell's partials, Risset, "An Introductory Catalogue of
    Computer Synthesized Sounds", 1969, no. 430.
    """
    ratios = np.array([0.56, 0.92, 1.19, 1.7, 2.0, 2.74, 3.0, 3.76]) * (1 + 0.03 * (random.uniforms(8) - 0.5))
    gains = np.array([1.0, 0.9, 1.0, 0.9, 1.3, 0.7, 0.7, 0.6]) * (0.5 + random.uniforms(8))
    strike = random.log_uniform(450, 850)
    wave = np.zeros(num_samples, dtype=np.float32)
    for ratio, gain in zip(ratios, gains, strict=True):
        ring = sine(oscillator_phase(strike * ratio, num_samples, start=ratio))
        wave += np.float32(gain) * ring * decay_envelope(num_samples, decibels=16 + 6 * ratio)
    return wave


def _pulse_engine(num_samples: int, random: SplitRandom) -> Wave:
    """Fast, slightly irregular low thumps over a rumble."""
    num_kernel = samples_in(0.025)
    thump = sine(oscillator_phase(random.log_uniform(80, 160), num_kernel)) * decay_envelope(
        num_kernel, decibels=20
    )
    thump += 0.4 * noise(num_kernel, random.rng, slope=-6) * decay_envelope(num_kernel, decibels=30)
    distance = SAMPLES_PER_SECOND / random.log_uniform(18, 30)
    starts = np.arange(0, num_samples, distance)
    starts = np.clip(starts + 0.05 * distance * (random.uniforms(len(starts)) - 0.5), 0, num_samples - 1)
    rumble = gain_of(-22) * noise(num_samples, random.rng, slope=-6)
    return repeat_at(num_samples, starts, 0.8 + 0.4 * random.uniforms(len(starts)), thump) + rumble


def _crackle(num_samples: int, random: SplitRandom) -> Wave:
    """Short clicks at random times with random levels; one at either end."""
    num_kernel = samples_in(0.003)
    kernel = noise(num_kernel, random.rng, slope=random.uniform(0, 4)) * decay_envelope(
        num_kernel, decibels=30
    )
    num_clicks = max(4, round(random.uniform(35, 80) * num_samples / SAMPLES_PER_SECOND))
    starts = np.sort(random.rng.random(num_clicks)) * (num_samples - num_kernel)
    starts[0], starts[-1] = 0, num_samples - 2 * num_kernel
    gains = gain_of(-16) ** random.uniforms(num_clicks)
    gains[0] = gains[-1] = 1.0
    return repeat_at(num_samples, starts, gains, kernel)


def _machine(num_samples: int, random: SplitRandom) -> Wave:
    hiss = gain_of(-14) * noise(num_samples, random.rng, slope=-3)
    hum: Wave = 0.5 * normalize_peak(_low_hum(num_samples, random))
    return _pulse_engine(num_samples, random) + hum + hiss


def _rain(num_samples: int, random: SplitRandom) -> Wave:
    drops = normalize_peak(_crackle(num_samples, random)) + normalize_peak(_crackle(num_samples, random))
    return drops + gain_of(-16) * noise(num_samples, random.rng, slope=random.uniform(-2, 1), low_hz=800)


def _wind(num_samples: int, random: SplitRandom) -> Wave:
    """Low noise with slowly varying level."""
    gusts = 0.6 + 0.4 * sine(
        oscillator_phase(random.uniform(0.4, 1.0), num_samples, start=random.uniform(0, 1))
    )
    return gusts * noise(num_samples, random.rng, slope=random.uniform(-8, -5), low_hz=80)


def _alarm_hall(num_samples: int, random: SplitRandom) -> Wave:
    siren = normalize_peak(_siren_sweep(num_samples, random))
    return add_reverb(siren, random.rng, seconds=random.uniform(0.5, 0.9), wet=random.uniform(0.5, 0.9))


def _workshop(num_samples: int, random: SplitRandom) -> Wave:
    """Regular clicks and noise bursts with reverberation."""
    wave = normalize_peak(_click_train(num_samples, random))
    num_burst = samples_in(0.25)
    for start in np.arange(0, num_samples - num_burst, samples_in(random.uniform(0.5, 0.8))):
        wave[start : start + num_burst] += 0.7 * make_event("noise burst", num_burst, random)
    return add_reverb(wave, random.rng, seconds=random.uniform(0.2, 0.4), wet=0.5)


def _partials(num: int, slope: float, random: SplitRandom) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Amplitudes of harmonic partials with ``slope`` dB per octave and a random deviation of up to 4 dB."""
    deviation = 8 * (random.uniforms(num) - 0.5)
    return 10 ** ((slope * np.log2(np.arange(1, num + 1)) + deviation) / 20)


EVENTS: dict[str, Sound] = {
    "siren sweep": _siren_sweep,
    "beep": _beep,
    "noise burst": _noise_burst,
    "click train": _click_train,
    "chirp up": _chirp_up,
    "chirp down": _chirp_down,
    "low hum": _low_hum,
    "bell tone": _bell_tone,
    "pulse engine": _pulse_engine,
    "crackle": _crackle,
}

SCENES: dict[str, Sound] = {
    "machine-like drone": _machine,
    "rain-like patter": _rain,
    "wind-like noise": _wind,
    "alarm-like hall": _alarm_hall,
    "workshop-like clatter": _workshop,
}
