import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.sweep.regression.gp import GaussianProcess
from audio_lm.sweep.regression.value_scale import MAX_DEVIATION, ValueScale
from tests.sweep.surfaces import plain_points


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20).map(np.array))
def test_values_come_back_and_are_standardized(values):
    scale = ValueScale.of(values)
    back, deviation = scale.back(scale.forward(values), np.zeros(len(values)))
    np.testing.assert_allclose(back, values, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(deviation, 0)
    assert abs(scale.forward(values).mean()) < 1e-3


def test_the_rounding_of_equal_values_is_no_deviation():
    values = np.full(3, 2.0500958492576124e-110)
    assert ValueScale.of(values).scale == 1.0
    np.testing.assert_allclose(ValueScale.of(values).forward(values), 0, atol=1e-9)


def test_the_logarithm_is_taken_of_positive_values_of_several_magnitudes():
    assert ValueScale.of(np.array([0.02, 9.0])).is_log
    for values in ([-0.02, 9.0], [0.0, 9.0], [1.0, 9.0]):
        assert not ValueScale.of(np.array(values)).is_log


def test_moments_are_those_of_a_logarithm_that_is_normal():
    scale = ValueScale(0.5, 0.8, is_log=True)
    drawn = np.exp(0.5 + 0.8 * (0.3 + 0.7 * np.random.default_rng(0).standard_normal(1_000_000)))
    mean, deviation = scale.back(np.array([0.3]), np.array([0.7]))
    assert mean[0] == pytest.approx(drawn.mean(), rel=0.01)
    assert deviation[0] == pytest.approx(drawn.std(), rel=0.02)


def test_predictions_far_from_all_values_are_finite():
    mean, deviation = ValueScale(0.0, 1.0, is_log=True).back(np.array([0.0]), np.array([100.0]))
    assert mean[0] == pytest.approx(np.exp(MAX_DEVIATION**2 / 2))
    assert np.isfinite(deviation[0])


def test_one_corner_of_huge_loss_does_not_widen_the_intervals_elsewhere():
    """A loss that is a power of a share, 0.1 to 100, with noise in proportion to its size."""
    rng = np.random.default_rng(0)
    shares = np.vstack([rng.dirichlet([4, 4, 4], 24), [[0.001, 0.5, 0.499]]])
    values = 0.1 / shares[:, 0] * np.exp(0.02 * rng.standard_normal(25))
    mean, deviation = GaussianProcess().fit(plain_points(shares), values).predict(plain_points(shares))
    assert np.median(deviation / mean) < 0.06
