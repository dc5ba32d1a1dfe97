"""Mix synthesized sentences into a clip: silence, level, tone and noise.

All starts are whole samples, so that word times stay exact.
"""

from collections.abc import Sequence

import numpy as np

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds, samples_in
from audio_lm.corpora.synthetic.speech_synthesis import Unit
from audio_lm.data.audio.decode import Wave

MIN_SILENCE, MAX_SILENCE = 0.05, 0.3
QUIETEST_DB = -12.0
NOISY_SHARE = TONED_SHARE = 0.5
TONES = (-0.3, 0.9)  # range of a zero and a pole: up to 25 dB between low and high frequencies
MIN_SNR_DB, MAX_SNR_DB = 15.0, 40.0


def draw_silence(rng: np.random.Generator) -> Seconds:
    """Draw the duration of a silence, in whole samples."""
    return samples_in(rng.uniform(MIN_SILENCE, MAX_SILENCE)) / SAMPLES_PER_SECOND


def mix_waves(placed: Sequence[tuple[Seconds, Wave]], rng: np.random.Generator, *, is_noisy: bool) -> Wave:
    """Mix waves, with silence at the end and a random level.

    All waves are normalized to the same peak, so that no speaker masks another.

    Args:
        placed: start and samples of each wave; they may overlap.
        is_noisy: change the tone of half of the waves, and add light noise to half of the clips.
    """
    starts = [samples_in(start) for start, _ in placed]
    end = max(start + len(wave) for start, (_, wave) in zip(starts, placed, strict=True))
    track = np.zeros(end + samples_in(draw_silence(rng)), dtype=np.float32)
    for start, (_, wave) in zip(starts, placed, strict=True):
        if is_noisy and rng.random() < TONED_SHARE:
            wave = change_tone(wave, rng)
        track[start : start + len(wave)] += wave / max(float(abs(wave).max()), 1e-3)
    if is_noisy and rng.random() < NOISY_SHARE:
        track += _noise(track, rng)
    level = 0.9 * 10.0 ** (rng.uniform(QUIETEST_DB, 0.0) / 20.0)
    return np.asarray(track * (level / float(abs(track).max())), dtype=np.float32)


def change_tone(wave: Wave, rng: np.random.Generator) -> Wave:
    """Filter a wave to be darker or brighter, like another microphone; word times do not change."""
    from scipy.signal import lfilter  # imports in about 1 s, and the registry imports this module

    zero, pole = rng.uniform(*TONES, size=2)
    return np.asarray(lfilter([1.0, -zero], [1.0, -pole], wave), dtype=np.float32)


def shift_units(units: Sequence[Unit] | None, offset: Seconds) -> list[Unit] | None:
    """Shift word times; None stays None."""
    return None if units is None else [(word, offset + start, offset + end) for word, start, end in units]


def _noise(track: Wave, rng: np.random.Generator) -> Wave:
    """Noise with a spectrum between white and brown, at a random SNR."""
    from scipy.signal import lfilter

    noise = rng.standard_normal(len(track), dtype=np.float32)
    noise = lfilter([1.0], [1.0, -rng.uniform(0.0, 0.97)], noise)
    snr = rng.uniform(MIN_SNR_DB, MAX_SNR_DB)
    speech_level = np.sqrt(np.mean(track[track != 0] ** 2))
    return np.asarray(noise / noise.std() * speech_level * 10.0 ** (-snr / 20.0), dtype=np.float32)
