import numpy as np
import pytest

from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.notes import (
    HIGHEST_PITCH,
    INSTRUMENTS,
    LOWEST_PITCH,
    QUALITIES,
    VELOCITIES,
    frequency_of,
    make_note,
)
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.waves import root_mean_square

NUM_SAMPLES = 16_000


def fundamental(wave):
    """Fundamental frequency in hertz, by autocorrelation."""
    length, finer = 4 * len(wave), 4
    correlation = np.fft.irfft(np.abs(np.fft.rfft(wave, length)) ** 2, finer * length)
    lags = np.arange(finer * SAMPLES_PER_SECOND // 600, finer * SAMPLES_PER_SECOND // 110)
    scores = correlation[lags] / (finer * len(wave) - lags)
    # Multiples of the period have peaks as well; take the shortest.
    peaks = [i for i in range(1, len(lags) - 1) if scores[i] >= max(scores[i - 1], scores[i + 1])]
    best = next(i for i in peaks if scores[i] > 0.9 * max(scores[p] for p in peaks))
    return finer * SAMPLES_PER_SECOND / lags[best]


def centroid(wave):
    power = np.abs(np.fft.rfft(wave)) ** 2
    return np.sum(power * np.fft.rfftfreq(len(wave), 1 / SAMPLES_PER_SECOND)) / np.sum(power)


def levels(wave, num_blocks=20):
    return np.array([root_mean_square(block) for block in np.array_split(wave, num_blocks)])


def play(instrument="organ", *, pitch=57, velocity=96, qualities=(), split="train", number=0):
    return make_note(pitch, velocity, instrument, qualities, NUM_SAMPLES, SplitRandom(split, number))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_a_note_has_its_labelled_pitch(instrument, split):
    for number, pitch in enumerate(range(LOWEST_PITCH, HIGHEST_PITCH + 1, 3)):
        qualities = (QUALITIES[number % 2],)
        hertz = fundamental(play(instrument, pitch=pitch, qualities=qualities, split=split, number=number))
        assert hertz == pytest.approx(frequency_of(pitch), rel=0.03), f"{instrument} {pitch}"


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_loudness_grows_with_the_square_of_velocity(instrument):
    peaks = [np.max(np.abs(play(instrument, velocity=velocity))) for velocity in VELOCITIES]
    np.testing.assert_allclose(peaks, [(velocity / 127) ** 2 for velocity in VELOCITIES], rtol=1e-4)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_a_bright_note_has_a_higher_spectral_centroid_than_a_dark_one(instrument):
    assert centroid(play(instrument, qualities=("bright",))) > 1.1 * centroid(
        play(instrument, qualities=("dark",))
    )


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_a_fast_decay_is_faster_and_a_long_release_is_longer(instrument):
    plain, fast = levels(play(instrument)), levels(play(instrument, qualities=("fast_decay",)))
    assert fast[14] / fast[3] < 0.2 * plain[14] / plain[3]
    released = levels(play(instrument, qualities=("long_release",)))
    assert released[-3] / released[9] < 0.3 * plain[-3] / plain[9]
    assert released[-1] / released[-3] > plain[-1] / plain[-3]


def test_a_tremolo_modulates_loudness():
    assert np.std(levels(play("organ"), 50)[5:40]) < 0.05 * np.mean(levels(play("organ"), 50)[5:40])
    swinging = levels(play("organ", qualities=("tremolo",)), 50)[5:40]
    assert np.std(swinging) > 0.2 * np.mean(swinging)


def test_a_percussive_note_starts_with_a_click():
    plain, knocked = play("flute"), play("flute", qualities=("percussive",))
    assert levels(knocked, 50)[0] > 3 * levels(plain, 50)[0]


def test_reverberation_continues_after_the_note():
    dry, wet = levels(play("organ")), levels(play("organ", qualities=("reverb",)))
    assert dry[-1] / dry[10] < 0.1
    assert wet[-1] / wet[10] > 1.5 * dry[-1] / dry[10]


def test_instruments_and_splits_have_different_sounds():
    waves = [play(instrument, split=split) for instrument in INSTRUMENTS for split in SPLITS]
    for i, wave in enumerate(waves):
        for other in waves[:i]:
            assert np.max(np.abs(wave - other)) > 0.05
