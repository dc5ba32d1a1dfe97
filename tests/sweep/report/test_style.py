import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.sweep.report.style import MAX_LEVELS, noise_note, scale_of
from tests.sweep.report.conftest import known_view

values = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20).map(np.array)


@given(values, st.floats(1e-3, 100) | st.just(math.inf), st.booleans())
def test_bands_cover_all_values_and_are_not_finer_than_the_noise(numbers, threshold, is_min):
    levels = scale_of(numbers, is_min=is_min, threshold=threshold).levels
    assert levels[0] <= numbers.min() + 1e-6
    assert levels[-1] >= numbers.max() - 1e-6
    assert len(levels) <= MAX_LEVELS + 2
    if math.isfinite(threshold):
        assert np.diff(levels).min() >= threshold * (1 - 1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_bands_are_finer_near_the_best_where_most_values_are(sign):
    numbers = sign * np.array([0.143, 0.151, 0.165, 0.176, 0.25, 0.35, 6.0])
    scale = scale_of(numbers, is_min=sign > 0, threshold=0.01)
    assert len({float(scale.norm(value)) for value in numbers}) == 7
    widths = np.diff(scale.levels)[::sign]
    assert (np.diff(widths) > -1e-9).all()
    assert widths[0] < 0.03


def test_values_within_the_noise_have_one_colour():
    scale = scale_of(np.array([1.01, 1.02]), is_min=True, threshold=0.5)
    assert scale.is_flat
    assert scale.norm([1.01]) == scale.norm([1.02])


def test_the_better_end_is_lighter():
    for is_min, better, worse in ((True, 0.0, 1.0), (False, 1.0, 0.0)):
        scale = scale_of(np.array([0.0, 1.0]), is_min=is_min, threshold=0.01)
        light, dark = (sum(scale.cmap(scale.norm(value))[:3]) for value in (better, worse))
        assert light > dark


def test_a_picture_says_that_the_noise_is_not_known():
    assert "not known" in noise_note(known_view(noise=0))
    assert "2 times the noise" in noise_note(known_view())
