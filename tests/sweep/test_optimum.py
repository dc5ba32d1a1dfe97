import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import entropy

from audio_lm.sweep.objective import Objective
from audio_lm.sweep.optimum import Pull, find_optimum, solve_log_linear
from audio_lm.sweep.regression.log_linear import LogLinear, LogLinearModel
from audio_lm.sweep.regression.points import Encoding, Points
from audio_lm.sweep.regression.surface import LeftOut, MetricSurface, _Trials

FREE = np.tile([0.0, 1.0], (3, 1))
SLOPES = np.array([[-3.0, 0.0, 0.5], [0.5, -2.0, 0.0], [0.2, 0.3, -1.0]])


def log_linear_surface(name, slopes):
    model = LogLinearModel(1.0, 0.0, slopes, np.zeros(3), 0.01, np.eye(3))
    points = Points(np.eye(3), np.empty((3, 0)))
    left_out, rows = LeftOut(*model.predict(points)), np.arange(3)
    trials = _Trials(points, left_out.mean, rows, rows, [left_out])
    return MetricSurface(name, 1.0, Encoding(), rows, trials, LogLinear(), model, left_out)


def total(shares):
    return np.exp(SLOPES @ shares).sum()


def solve(pull=None, bounds=FREE):
    surfaces = [log_linear_surface(str(at), slopes) for at, slopes in enumerate(SLOPES)]
    return solve_log_linear(surfaces, [1.0, 1.0, 1.0], bounds, pull)


def test_the_log_linear_optimum_is_the_best_of_a_fine_grid():
    best = solve()
    grid = np.array([(a, b, 200 - a - b) for a in range(201) for b in range(201 - a)], float) / 200
    assert total(best) <= min(map(total, grid)) + 1e-9
    assert best.sum() == pytest.approx(1)


def test_a_pull_moves_the_optimum_towards_the_recipes_weights():
    towards = np.array([0.1, 0.1, 0.8])
    distances = [
        np.abs(solve(Pull(towards, strength)) - towards).sum() for strength in (0.0, 0.1, 1.0, 1000.0)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.01


def test_a_pull_towards_the_optimum_does_not_move_it():
    best = solve()
    np.testing.assert_allclose(solve(Pull(best, 0.5)), best, atol=1e-4)


def test_the_exact_optimum_with_pull_agrees_with_a_general_optimizer():
    pull = Pull(np.array([0.2, 0.3, 0.5]), 0.3)

    def value(logits):
        shares = np.exp(logits) / np.exp(logits).sum()
        return total(shares) + pull.of(shares[None])[0]

    logits = minimize(value, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}).x
    np.testing.assert_allclose(solve(pull), np.exp(logits) / np.exp(logits).sum(), atol=1e-4)


def test_bounds_hold():
    bounds = np.array([[0.0, 0.2], [0.3, 1.0], [0.0, 1.0]])
    best = solve(bounds=bounds)
    assert best[0] <= 0.2 + 1e-9
    assert best[1] >= 0.3 - 1e-9


def test_the_general_search_comes_close_to_the_exact_optimum(monkeypatch):
    surfaces = {str(at): log_linear_surface(str(at), slopes) for at, slopes in enumerate(SLOPES)}
    objective = Objective(dict.fromkeys(surfaces, 1.0))
    exact = find_optimum(objective, surfaces, FREE, centers=np.eye(3))
    monkeypatch.setattr("audio_lm.sweep.optimum.LogLinearModel", type("Other", (), {}))
    searched = find_optimum(objective, surfaces, FREE, centers=np.eye(3))
    assert total(searched) <= total(exact) + 0.002


def test_the_pull_is_the_divergence_of_scipy():
    shares, towards = np.random.default_rng(0).dirichlet(np.ones(4), 20), np.array([0.4, 0.3, 0.2, 0.1])
    expected = [0.7 * entropy(point, towards) for point in shares]
    np.testing.assert_allclose(Pull(towards, 0.7).of(shares), expected)
    assert Pull(towards, 0.7).of(np.eye(4)[:1])[0] == pytest.approx(0.7 * np.log(1 / 0.4)), "also at a corner"
