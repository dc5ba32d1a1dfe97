import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import DataError
from audio_lm.sweep.simplex import check_bounds, into_bounds, sample_within

TASKS = ("asr", "aac", "lid")


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=6).filter(lambda shares: sum(shares) > 0.01),
    st.lists(st.floats(0, 0.15), min_size=6, max_size=6),
    st.lists(st.floats(0.4, 1), min_size=6, max_size=6),
)
def test_points_are_moved_into_the_bounds(shares, low, high):
    point = np.array(shares) / sum(shares)
    bounds = np.stack([low, high], axis=1)[: len(point)]
    if bounds[:, 1].sum() < 1:
        return
    inside = into_bounds(point[None], bounds)[0]
    assert inside.sum() == pytest.approx(1, abs=1e-9)
    assert (inside >= bounds[:, 0] - 1e-9).all()
    assert (inside <= bounds[:, 1] + 1e-9).all()


def test_points_within_bounds_do_not_move():
    points = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    np.testing.assert_allclose(into_bounds(points, np.tile([0.0, 1.0], (4, 1))), points, atol=1e-6)


def test_sampled_points_reach_corners_and_stay_within_bounds():
    bounds = np.array([[0.0, 1.0], [0.0, 1.0], [0.1, 0.3]])
    points = sample_within(bounds, np.full((1, 3), 1 / 3), 2000, np.random.default_rng(0))
    assert (points[:, 0] > 0.85).any()
    assert (points[:, 0] < 0.01).any()
    assert points[:, 2].min() >= 0.1 - 1e-6
    assert points[:, 2].max() <= 0.3 + 1e-6


@pytest.mark.parametrize(
    "bounds",
    [
        [[0.5, 1], [0.5, 1], [0.1, 1]],
        [[0, 0.3], [0, 0.3], [0, 0.3]],
        [[0.4, 0.3], [0, 1], [0, 1]],
        [[0, 1], [0, 1]],
    ],
)
def test_bounds_that_leave_no_mixture_are_refused(bounds):
    with pytest.raises(DataError, match="leave no mixture"):
        check_bounds(np.array(bounds, float), TASKS)
