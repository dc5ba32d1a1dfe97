from dataclasses import replace

import numpy as np
import pytest

from audio_lm.common.errors import DataError
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.fit import fit_table
from tests.sweep.surfaces import TASKS, known_table, true_losses

METRICS = {f"val_loss/{task}": MetricConfig() for task in TASKS}


@pytest.fixture(scope="module")
def fit():
    return fit_table(known_table(24), METRICS)


def best_of_a_grid(bounds=((0, 1), (0, 1), (0, 1))):
    grid = np.array([(a, b, 100 - a - b) for a in range(101) for b in range(101 - a)], float) / 100
    low, high = np.array(bounds, float).T
    grid = grid[((grid >= low - 1e-9) & (grid <= high + 1e-9)).all(axis=1)]
    means = true_losses(grid).mean(axis=1)
    return means.min()


def test_the_recommended_mixture_is_close_to_the_true_optimum(fit):
    assert fit.trust > 0.8
    assert true_losses(fit.best.shares[None]).mean() < best_of_a_grid() + 0.02
    low, high = fit.best.interval
    assert low < true_losses(fit.best.shares[None]).mean() < high


def test_the_recommendation_has_every_metric_with_an_interval(fit):
    for at, name in enumerate(METRICS):
        mean, low, high = fit.best.per_metric[name]
        assert low < mean < high
        assert low < true_losses(fit.best.shares[None])[0, at] < high, name


def test_the_recommended_mixture_is_within_bounds():
    bounds = np.array([[0.0, 0.2], [0.0, 1.0], [0.4, 1.0]])
    fit = fit_table(known_table(24), METRICS, bounds)
    assert (fit.best.shares >= bounds[:, 0] - 1e-6).all()
    assert (fit.best.shares <= bounds[:, 1] + 1e-6).all()
    assert true_losses(fit.best.shares[None]).mean() < best_of_a_grid(bounds) + 0.03


def test_nothing_is_recommended_from_noise():
    table = known_table(24)
    rng = np.random.default_rng(0)
    noise = {name: rng.standard_normal(len(table)) for name in table.metrics}
    fit = fit_table(replace(table, metrics=noise), METRICS)
    assert fit.best is None
    assert "0.5 is needed" in fit.why_none


def test_metrics_that_cannot_be_fitted_are_named():
    table = known_table(12)
    table.metrics["val_loss/asr"][:] = 1.0
    table.metrics["val_loss/aac"][3:] = np.nan
    table.metrics["val_loss/lid"][2] = np.nan
    fit = fit_table(table, METRICS)
    assert set(fit.surfaces) == {"val_loss/lid"}
    assert "val_loss/asr is not fitted: it is 1 in all trials" in fit.left_out
    assert any("val_loss/aac is not fitted: it was measured for 3" in one for one in fit.left_out)
    assert "val_loss/lid is missing in 1 trials: 002" in fit.left_out


def test_a_pull_keeps_the_optimum_nearer_to_the_recipe():
    table, prior = known_table(24, noise=0.05), np.array([0.1, 0.1, 0.8])
    free, pulled = fit_table(table, METRICS), fit_table(table, METRICS, prior=prior)
    assert np.abs(pulled.best.shares - prior).sum() < np.abs(free.best.shares - prior).sum()


def test_the_best_setting_is_found_with_the_mixture():
    table = known_table(24)
    prompts = ["tags", "natural"] * (len(table) // 2) + ["tags"]
    penalty = np.array([0.5 * (prompt == "tags") for prompt in prompts])
    metrics = {name: values + penalty for name, values in table.metrics.items()}
    fit = fit_table(replace(table, metrics=metrics, settings={"prompt": prompts}), METRICS)
    assert fit.settings == {"prompt": "natural"}
    assert true_losses(fit.best.shares[None]).mean() < best_of_a_grid() + 0.03


@pytest.mark.parametrize(
    ("table", "metrics", "words"),
    [
        (known_table(12), {"val_loss/asrr": MetricConfig()}, "Did you mean 'val_loss/asr'"),
        (known_table(3), METRICS, "4 different mixtures -- expected at least 6"),
        (known_table(12), {"val_loss/asr": MetricConfig(weight=0)}, "all weights are 0"),
    ],
)
def test_a_table_that_cannot_be_fitted_is_refused(table, metrics, words):
    with pytest.raises(DataError, match=words):
        fit_table(table, metrics)


def test_fits_of_the_same_table_are_equal(fit):
    again = fit_table(known_table(24), METRICS)
    np.testing.assert_array_equal(again.best.shares, fit.best.shares)
