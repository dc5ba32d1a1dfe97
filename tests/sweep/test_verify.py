from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.fit import fit_table
from audio_lm.sweep.verify import check_ranks, top_mixtures
from tests.sweep.surfaces import TASKS, known_table, true_losses

METRICS = {f"val_loss/{task}": MetricConfig() for task in TASKS}


@pytest.fixture(scope="module")
def fit():
    return fit_table(known_table(16), METRICS)


def large_trials(shares, losses):
    table = known_table(len(shares), 0)
    return replace(table, shares=shares, metrics={name: losses[:, at] for at, name in enumerate(METRICS)})


def test_the_recommended_mixture_comes_first_and_none_comes_twice(fit):
    top = top_mixtures(fit, 3)
    np.testing.assert_array_equal(top[0], fit.best.shares)
    assert len({tuple(shares) for shares in top}) == 3
    assert (np.diff(fit.predict_objective(top)[0]) >= -1e-9).all()


def test_orders_that_hold_and_orders_that_do_not_are_counted(fit):
    shares = np.array([fit.best.shares, [1 / 3] * 3, [0.01, 0.01, 0.98]])
    same = check_ranks(fit, large_trials(shares, true_losses(shares) - 1))
    assert len(same.held) >= 2
    assert not same.broken
    assert same.rank_correlation == pytest.approx(1)
    reversed_ = check_ranks(fit, large_trials(shares, -true_losses(shares)))
    assert not reversed_.held
    assert len(reversed_.broken) == len(same.held)
    assert "is better than" in reversed_.sentence()


def test_mixtures_within_the_noise_have_no_order_to_verify(fit):
    shares = np.array([[0.4, 0.4, 0.2], [0.4, 0.401, 0.199]])
    found = check_ranks(fit, large_trials(shares, true_losses(shares)))
    assert found.undecided == 1
    assert "no order to verify" in found.sentence()


@pytest.mark.parametrize("seed", range(4))
def test_every_pair_is_counted_once_and_named_better_first(fit, seed):
    rng = np.random.default_rng(seed)
    shares, losses = rng.dirichlet(np.ones(3), 7), rng.normal(2, 0.3, (7, 3))
    found = check_ranks(fit, large_trials(shares, losses))
    assert len(found.held) + len(found.broken) + found.undecided == 7 * 6 / 2
    row_of = {run: row for row, run in enumerate(found.runs)}
    for pairs, sign in ((found.held, 1), (found.broken, -1)):
        for better, worse in pairs:
            first, second = row_of[better], row_of[worse]
            assert found.predicted[second] - found.predicted[first] > 2 * fit.objective_noise
            assert sign * (found.measured[second] - found.measured[first]) > 0
    np.testing.assert_allclose(found.measured, losses.mean(axis=1))
    assert found.rank_correlation == pytest.approx(spearmanr(found.predicted, found.measured).statistic)
