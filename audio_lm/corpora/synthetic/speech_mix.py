"""From spoken sentences to the sound of a clip: silence around them, loudness, tone, a little noise.

Every start is a whole number of samples, so times of words stay exact.
"""

from collections.abc import Sequence

import numpy as np

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds, samples_in
from audio_lm.corpora.synthetic.speech_synthesis import Unit
from audio_lm.data.audio.decode import Wave

MIN_SILENCE, MAX_SILENCE = 0.05, 0.3
QUIETEST_DB = -12.0
NOISY_SHARE = TONED_SHARE = 0.5
TONES = (-0.3, 0.9)  # of a zero and a pole: up to 25 dB between low and high
MIN_SNR_DB, MAX_SNR_DB = 15.0, 40.0


def draw_silence(rng: np.random.Generator) -> Seconds:
    """How long nobody speaks before or after a clip's speech; whole samples."""
    return samples_in(rng.uniform(MIN_SILENCE, MAX_SILENCE)) / SAMPLES_PER_SECOND


def mix_waves(placed: Sequence[tuple[Seconds, Wave]], rng: np.random.Generator, *, is_noisy: bool) -> Wave:
    """All of it on one track, with silence behind, at a random level.

    Each wave is brought to the same peak first, so nobody in a clip is drowned.

    Args:
        placed: where each wave starts; they may overlap.
        is_noisy: another tone for half of the waves, light noise in half of the clips.
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
    """Darker or brighter, as another microphone or another mouth would make it; nothing moves in time."""
    from scipy.signal import lfilter  # takes a second to import, and plans import the registry

    zero, pole = rng.uniform(*TONES, size=2)
    return np.asarray(lfilter([1.0, -zero], [1.0, -pole], wave), dtype=np.float32)


def shift_units(units: Sequence[Unit] | None, start: Seconds) -> list[Unit] | None:
    """The same words, heard later."""
    return None if units is None else [(word, start + begin, start + end) for word, begin, end in units]


def _noise(track: Wave, rng: np.random.Generator) -> Wave:
    """Noise between white and brown, weaker than the speech by a drawn ratio."""
    from scipy.signal import lfilter

    noise = rng.standard_normal(len(track), dtype=np.float32)
    noise = lfilter([1.0], [1.0, -rng.uniform(0.0, 0.97)], noise)
    snr = rng.uniform(MIN_SNR_DB, MAX_SNR_DB)
    spoken = np.sqrt(np.mean(track[track != 0] ** 2))
    return np.asarray(noise / noise.std() * spoken * 10.0 ** (-snr / 20.0), dtype=np.float32)
