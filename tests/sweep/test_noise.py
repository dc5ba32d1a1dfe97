from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import f_oneway

from audio_lm.sweep.noise import (
    ceiling_of,
    mixtures_of,
    noise_of,
    smallest_effects,
    spread_of,
    spread_of_another_seed,
)
from tests.sweep.surfaces import known_table


def test_noise_is_the_spread_of_runs_of_one_mixture():
    table = known_table(6, repeats=400, noise=0.05)
    assert noise_of(table)["val_loss/asr"] == pytest.approx(0.05, rel=0.15)
    assert smallest_effects(noise_of(table))["val_loss/asr"] == pytest.approx(0.1, rel=0.15)


def test_without_repeats_there_is_no_noise():
    assert noise_of(known_table(8, repeats=0)) == {}


def test_mixtures_with_other_settings_are_no_repeats():
    table = known_table(2, repeats=2)
    table.settings["prompt"] = ["a", "a", "a", "b"]
    assert len(set(mixtures_of(table).tolist())) == 4


def test_a_copy_of_a_run_is_no_repeat():
    table = known_table(6, repeats=2)
    copied = replace(table, seeds=(0,) * 6 + (1, 1))
    assert set(noise_of(table)) == set(table.metrics)
    assert noise_of(copied) == {}


def test_a_run_without_a_value_is_no_repeat():
    assert spread_of(np.array([1.0, np.nan]), np.array([0, 0])) is None


def test_no_prediction_correlates_perfectly_with_noisy_runs():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(5000)
    measured = truth + 0.5 * rng.standard_normal(5000)
    assert ceiling_of(measured, 0.5) == pytest.approx(np.corrcoef(truth, measured)[0, 1], abs=0.02)
    assert ceiling_of(measured, 100.0) == 0


def test_a_common_seed_widens_the_interval_of_a_run_with_another_one():
    table = known_table(24)
    values = table.metrics["val_loss/asr"]
    assert spread_of_another_seed(table, values) == pytest.approx(noise_of(table)["val_loss/asr"])
    own_seeds = replace(table, seeds=tuple(range(len(table))))
    assert spread_of_another_seed(own_seeds, values) == 0
    assert spread_of_another_seed(replace(table, seeds=()), values) == 0


@pytest.mark.parametrize("seed", range(6))
def test_the_spread_is_the_pooled_deviation_of_an_analysis_of_variance(seed):
    """F is the mean square between groups by that within them, which is the square of the spread."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 6, 5)
    groups = [rng.normal(mean, 0.3, size) for mean, size in zip(rng.normal(0, 1, 5), sizes, strict=True)]
    values, mixtures = np.concatenate(groups), np.repeat(np.arange(5), sizes)
    between = sum(len(one) * (one.mean() - values.mean()) ** 2 for one in groups) / 4
    expected = np.sqrt(between / f_oneway(*groups).statistic)
    shuffled = rng.permutation(len(values))
    assert spread_of(values[shuffled], mixtures[shuffled]) == pytest.approx(expected)
    alone = spread_of(np.append(values, 9.0), np.append(mixtures, 99))
    assert alone == pytest.approx(expected), "one run has no spread"
