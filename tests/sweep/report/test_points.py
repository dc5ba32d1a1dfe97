from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.sweep.report.points import (
    along,
    candidates,
    is_within,
    named_points,
    range_along,
    reference_point,
    triangle_grid,
)

mixtures = st.lists(st.floats(0.01, 1), min_size=2, max_size=5).map(lambda one: np.array(one) / sum(one))


@given(mixtures, st.floats(0, 1), st.data())
def test_along_a_line_one_share_is_set_and_the_others_keep_their_proportions(shares, value, data):
    task = data.draw(st.integers(0, len(shares) - 1))
    point = along(shares, task, np.array([value]))[0]
    assert point[task] == value
    np.testing.assert_allclose(point.sum(), 1)
    others = np.delete(shares, task)
    np.testing.assert_allclose(np.delete(point, task), (1 - value) * others / others.sum(), atol=1e-12)


def test_a_mixture_of_one_task_alone_is_left_towards_all_others():
    np.testing.assert_allclose(along(np.array([1.0, 0, 0]), 0, np.array([0.5])), [[0.5, 0.25, 0.25]])


@given(mixtures, st.data())
def test_both_ends_of_a_range_are_within_the_bounds_and_nothing_beyond_is(shares, data):
    task = data.draw(st.integers(0, len(shares) - 1))
    low = np.array([data.draw(st.floats(0, share)) for share in shares])
    high = np.array([data.draw(st.floats(share, 1)) for share in shares])
    bounds = np.stack([low, high], axis=1)
    ends = range_along(shares, task, bounds)
    assert ends[0] <= shares[task] + 1e-9
    assert ends[1] >= shares[task] - 1e-9
    assert is_within(along(shares, task, np.array(ends)), bounds).all()
    beyond = np.array([ends[0] - 1e-3, ends[1] + 1e-3])
    assert not is_within(along(shares, task, beyond), bounds).any()


def test_a_grid_covers_the_triangle():
    grid = triangle_grid(4)
    assert len(grid) == 15
    np.testing.assert_allclose(grid.sum(axis=1), 1)
    assert all(corner in grid.tolist() for corner in np.eye(3).tolist())


def test_candidates_are_within_the_bounds_and_start_with_the_best_mixture(fit):
    points = candidates(fit, 500)
    assert is_within(points, fit.bounds).all()
    np.testing.assert_array_equal(points[0], fit.best.shares)
    np.testing.assert_allclose(points.sum(axis=1), 1)


def test_effects_are_stated_at_the_mixture_of_the_recipe(fit):
    name, shares = reference_point(fit)
    assert name == "recipe"
    np.testing.assert_array_equal(shares, fit.table.shares[2])


def test_without_baselines_the_best_mixture_is_named_and_without_it_the_mean(fit):
    bare = replace(fit, table=replace(fit.table, purposes=()), prior=None)
    assert list(named_points(bare)) == ["best"]
    assert reference_point(bare)[0] == "best"
    assert list(named_points(replace(bare, best=None))) == ["mean of the trials"]


def test_the_mixture_of_the_recipe_is_known_also_if_its_trial_failed(fit):
    assert "recipe" in named_points(replace(fit, table=replace(fit.table, purposes=())))
