import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from audio_lm.common.rng import random_for
from audio_lm.data.augment import spec_augment_row
from audio_lm.data.config import SpecAugmentConfig


@given(st.integers(3, 3_000), st.integers(0, 10_000))
def test_masks_and_warps_stay_inside_the_clip(num_frames, seed):
    rng = random_for("test", seed)
    warp_from, warp_to, band, band_width, time, time_width = spec_augment_row(
        SpecAugmentConfig(), num_frames=num_frames, num_mels=80, rng=rng
    )
    assert 0 <= band <= band + band_width <= 80
    assert band_width <= 27
    assert 0 <= time <= time + time_width <= num_frames
    assert time_width < num_frames, "some frames must stay unmasked"
    assert 0 <= warp_to <= num_frames
    assert abs(warp_from - warp_to) <= 80


def test_a_disabled_policy_changes_nothing():
    off = SpecAugmentConfig(time_warp=0, frequency_width=0, time_width=0)
    row = spec_augment_row(off, num_frames=100, num_mels=80, rng=np.random.default_rng(0))
    assert (row[0], row[3], row[5]) == (row[1], 0, 0)


@given(st.integers(3, 600), st.integers(0, 999), st.integers(0, 40), st.integers(0, 90), st.floats(0.05, 1))
def test_masks_keep_the_limits_of_their_policy(num_frames, seed, frequency_width, time_width, time_share):
    policy = SpecAugmentConfig(
        time_warp=5, frequency_width=frequency_width, time_width=time_width, time_share=time_share
    )
    _, _, _, band, _, time = spec_augment_row(
        policy, num_frames=num_frames, num_mels=20, rng=np.random.default_rng(seed)
    )
    assert band <= min(frequency_width, 19)
    assert time <= min(time_width, time_share * num_frames)


def test_widths_and_places_of_masks_are_uniform():
    """All widths up to the policy's, and all places where the mask fits, as in section 2 of the paper."""
    rng, policy = np.random.default_rng(0), SpecAugmentConfig(frequency_width=4, time_width=3, time_share=1.0)
    rows = np.array([spec_augment_row(policy, num_frames=8, num_mels=6, rng=rng) for _ in range(6000)])
    for start, width, size, widest in ((2, 3, 6, 4), (4, 5, 8, 3)):
        assert chisquare(np.bincount(rows[:, width], minlength=widest + 1)).pvalue > 1e-3
        for value in range(1, widest + 1):
            places = rows[rows[:, width] == value, start]
            assert chisquare(np.bincount(places, minlength=size - value + 1)).pvalue > 1e-3
