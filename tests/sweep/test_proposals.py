import numpy as np
import pytest

from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.fit import fit_table
from audio_lm.sweep.proposals import expected_improvement, propose
from tests.sweep.surfaces import TASKS, known_table, true_losses

METRICS = {f"val_loss/{task}": MetricConfig() for task in TASKS}


@pytest.fixture(scope="module")
def fit():
    return fit_table(known_table(12), METRICS, np.array([[0.05, 0.8], [0.05, 1.0], [0.0, 1.0]]))


def test_proposals_are_better_than_random_trials(fit):
    proposed = true_losses(propose(fit, 4)).mean(axis=1)
    measured = true_losses(fit.table.shares).mean(axis=1)
    assert np.median(proposed) < np.quantile(measured, 0.25)


def test_proposals_are_within_bounds_and_differ(fit):
    points = propose(fit, 6)
    assert (points >= fit.bounds[:, 0] - 1e-6).all()
    assert (points <= fit.bounds[:, 1] + 1e-6).all()
    distances = np.abs(points[:, None] - points).sum(axis=2)[np.triu_indices(6, 1)]
    assert distances.min() > 0.02


def test_proposals_can_be_chosen_from_given_mixtures(fit):
    given = np.random.default_rng(1).dirichlet(np.ones(3), 5)
    points = propose(fit, 9, candidates=given)
    assert sorted(map(tuple, points)) == sorted(map(tuple, given))


def test_expected_improvement_of_a_sure_and_of_an_unsure_point():
    sure, unsure, hopeless = expected_improvement(np.array([0.5, 1.0, 9.0]), np.array([1e-9, 1.0, 1e-9]), 1.0)
    assert sure == pytest.approx(0.5)
    assert unsure == pytest.approx(1 / np.sqrt(2 * np.pi))
    assert hopeless == pytest.approx(0)


def test_a_corner_of_large_losses_is_not_proposed_because_it_is_unknown():
    mean, deviation = np.array([0.14, 4.0]), np.array([0.01, 3.0])
    near, corner = expected_improvement(mean, deviation, 0.15, is_log=True)
    assert near > 100 * corner
    assert expected_improvement(mean, deviation, 0.15)[1] > near, "a normal distribution proposes it"
    certain = expected_improvement(np.array([0.1]), np.array([1e-9]), 0.15, is_log=True)
    assert certain == pytest.approx(0.05)


@pytest.mark.parametrize("is_log", [False, True])
def test_expected_improvement_is_the_mean_over_runs(is_log):
    """Runs drawn from the distribution that the formula integrates: mean and deviation are those of a run."""
    mean, deviation = np.array([1.0, 1.2, 2.0, 0.7]), np.array([0.3, 0.5, 1.5, 0.05])
    drawn = np.random.default_rng(0).standard_normal(400_000)[:, None]
    if is_log:
        variance = np.log(1 + (deviation / mean) ** 2)
        runs = np.exp(np.log(mean) - variance / 2 + np.sqrt(variance) * drawn)
        np.testing.assert_allclose((runs.mean(0), runs.std(0)), (mean, deviation), rtol=0.02)
    else:
        runs = mean + deviation * drawn
    expected = np.maximum(0.9 - runs, 0).mean(0)
    np.testing.assert_allclose(expected_improvement(mean, deviation, 0.9, is_log=is_log), expected, atol=2e-3)
