import numpy as np
from hypothesis import given
from hypothesis import strategies as st

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
