from itertools import pairwise

import numpy as np
import pytest

from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.events import EVENTS, SCENES, make_event, make_scene
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.waves import root_mean_square

NUM_SAMPLES = 16_000


def loudest_hz(wave):
    power = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return np.argmax(power) * SAMPLES_PER_SECOND / len(wave)


def envelope(wave, num_blocks=50):
    return np.array([root_mean_square(block) for block in np.array_split(wave, num_blocks)])


def test_ten_sounds_and_five_scenes_exist():
    assert (len(EVENTS), len(SCENES)) == (10, 5)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", EVENTS)
def test_a_sound_is_audible_from_its_start_to_its_end(name, split):
    for number in range(4):
        wave = make_event(name, NUM_SAMPLES, SplitRandom(split, name, number))
        assert wave.shape == (NUM_SAMPLES,)
        assert wave.dtype == np.float32
        assert np.max(np.abs(wave)) == pytest.approx(1.0)
        assert np.max(np.abs(wave[:480])) > 0.03, f"{name} {number} starts late"
        assert np.max(np.abs(wave[-480:])) > 0.03, f"{name} {number} ends early"


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_fills_its_clip(name):
    wave = make_scene(name, 2 * NUM_SAMPLES, SplitRandom("train", name))
    assert wave.shape == (2 * NUM_SAMPLES,)
    assert envelope(wave, 4).min() > 0.01


@pytest.mark.parametrize("name", [*EVENTS, *SCENES])
def test_splits_have_different_sounds(name):
    make = make_event if name in EVENTS else make_scene
    waves = [make(name, NUM_SAMPLES, SplitRandom(split, name, 0)) for split in SPLITS]
    for wave, next_wave in pairwise(waves):
        assert np.max(np.abs(wave - next_wave)) > 0.1


@pytest.mark.parametrize(("name", "is_rising"), [("chirp up", True), ("chirp down", False)])
def test_chirps_rise_or_fall_as_named(name, is_rising):
    wave = make_event(name, NUM_SAMPLES, SplitRandom("test", name))
    first, last = loudest_hz(wave[:1_600]), loudest_hz(wave[-1_600:])
    assert (last > 2 * first) == is_rising
    assert (first > 2 * last) != is_rising


def test_a_hum_is_low_and_a_beep_is_high():
    for number in range(5):
        assert loudest_hz(make_event("low hum", NUM_SAMPLES, SplitRandom("train", number))) < 350
        assert loudest_hz(make_event("beep", NUM_SAMPLES, SplitRandom("train", number))) > 850


def test_the_pitch_of_a_siren_rises_and_falls():
    wave = make_event("siren sweep", NUM_SAMPLES, SplitRandom("train", 0))
    hertz = np.array([loudest_hz(block) for block in np.split(wave, 20)])
    turns = np.count_nonzero(np.diff(np.sign(np.diff(hertz))))
    assert turns >= 3


def test_a_bell_decays_and_a_beep_does_not():
    bell, beep = (
        envelope(make_event(name, NUM_SAMPLES, SplitRandom("train", 0))) for name in ("bell tone", "beep")
    )
    assert bell[-3] < 0.3 * bell[1]
    assert beep[-3] > 0.9 * beep[1]


def onset_gaps(name):
    """Distances between onsets, found by jumps of the level."""
    wave = np.abs(make_event(name, NUM_SAMPLES, SplitRandom("train", 1)))
    level = wave.reshape(-1, 80).max(axis=1)
    onsets = np.flatnonzero((level[1:] > 0.15) & (level[1:] > 3 * level[:-1]))
    return np.diff(onsets)


def test_clicks_of_a_train_are_regular_and_those_of_a_crackle_are_not():
    regular, irregular = onset_gaps("click train"), onset_gaps("crackle")
    assert np.std(regular) < 0.1 * np.mean(regular)
    assert np.std(irregular) > 0.4 * np.mean(irregular)
