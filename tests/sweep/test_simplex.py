import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from audio_lm.common.errors import DataError
from audio_lm.sweep.simplex import check_bounds, into_bounds, sample_within, simplex_grid

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


@pytest.mark.parametrize("seed", range(8))
def test_points_are_moved_to_the_nearest_mixture_by_divergence(seed):
    """Scaling and clipping solves: the smallest divergence from the point, among the mixtures within the bounds."""
    rng = np.random.default_rng(seed)
    point, low = rng.dirichlet(np.ones(5)), rng.uniform(0, 0.15, 5)
    bounds = np.stack([low, low + rng.uniform(0.1, 0.6, 5)], axis=1)
    if bounds[:, 1].sum() < 1:
        bounds[:, 1] = 1.0
    solved = minimize(
        lambda x: float(np.sum(x * np.log(np.maximum(x, 1e-12) / point))),
        bounds.mean(axis=1),
        method="SLSQP",
        bounds=bounds.tolist(),
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    np.testing.assert_allclose(into_bounds(point[None], bounds)[0], solved.x, atol=1e-4)


@pytest.mark.parametrize("num_names", [1, 2, 4])
@pytest.mark.parametrize("divisions", [1, 3, 6])
def test_a_grid_has_every_composition_once(num_names, divisions):
    points = simplex_grid(num_names, divisions)
    assert len(set(points)) == len(points) == (math.comb(divisions + num_names - 1, num_names - 1))
    assert all(sum(point) == pytest.approx(1) and min(point) >= 0 for point in points)
