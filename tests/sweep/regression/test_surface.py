from dataclasses import replace

import numpy as np
import pytest

from audio_lm.sweep.regression.points import Encoding
from audio_lm.sweep.regression.surface import (
    FAMILIES,
    REUSED,
    MetricData,
    _choose,
    _folds,
    fit_surfaces,
    number_mixtures,
    rank_correlation,
    robust_spread,
)
from tests.sweep.surfaces import known_table, plain_points, true_losses

METRIC = "val_loss/asr"


def surface_of(table, sign=1.0, seed=0):
    data = MetricData(METRIC, np.arange(len(table)), sign, Encoding.of(table))
    return fit_surfaces(table, [data], seed)[METRIC]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_ranks_unseen_mixtures(family):
    rng = np.random.default_rng(0)
    seen, unseen = rng.dirichlet(np.ones(3), 30), rng.dirichlet(np.ones(3), 200)
    mean, deviation = family.fit(plain_points(seen), true_losses(seen)[:, 0]).predict(plain_points(unseen))
    assert rank_correlation(mean, true_losses(unseen)[:, 0]) > 0.9
    assert (deviation > 0).all()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_scale_and_offset_of_a_metric_do_not_matter(family):
    rng = np.random.default_rng(0)
    seen, unseen = rng.dirichlet(np.ones(3), 20), rng.dirichlet(np.ones(3), 50)
    values = true_losses(seen)[:, 1]
    mean, deviation = family.fit(plain_points(seen), values).predict(plain_points(unseen))
    scaled, scaled_deviation = family.fit(plain_points(seen), 100 * values - 7).predict(plain_points(unseen))
    np.testing.assert_allclose(scaled, 100 * mean - 7, rtol=0.01)
    np.testing.assert_allclose(scaled_deviation, 100 * deviation, rtol=0.05)


def test_runs_of_one_mixture_are_left_out_together():
    table = known_table(10, repeats=3)
    mixtures = number_mixtures(Encoding.of(table).of_table(table))
    assert len(np.unique(mixtures)) == 11
    folds = _folds(mixtures, 5)
    assert sorted(np.concatenate(folds)) == [*range(13)]
    assert sum(10 in fold or 11 in fold or 12 in fold for fold in folds) == 1


def test_pure_noise_has_no_rank_correlation():
    table = known_table(40, 0)
    table.metrics[METRIC][:] = np.random.default_rng(0).standard_normal(40)
    assert abs(surface_of(table).rank_correlation) < 0.4


def test_intervals_hold_nineteen_of_twenty_unseen_runs():
    surface, unseen = surface_of(known_table(24)), known_table(400, 0, seed=1)
    mean, deviation = surface.predict(unseen.shares)
    inside = np.abs(mean - unseen.metrics[METRIC]) < 1.96 * deviation
    assert 0.85 < inside.mean() <= 1


def test_leave_one_out_and_five_folds_agree_on_a_clear_surface():
    surface = surface_of(known_table(16))
    assert surface.rank_correlation > 0.85
    assert surface.leave_one_out > 0.85


def test_a_metric_whose_larger_values_are_better_has_the_same_surface_mirrored():
    table = known_table(16)
    mirrored = replace(table, metrics={METRIC: -table.metrics[METRIC]})
    mean, deviation = surface_of(table).predict(table.shares)
    opposite, same = surface_of(mirrored, sign=-1.0).predict(table.shares)
    np.testing.assert_allclose(opposite, -mean)
    np.testing.assert_allclose(same, deviation)


def test_a_lucky_family_does_not_replace_the_first_one():
    assert _choose(np.array([[0.5, 0.55, 0.6]]), [17]) == [0]
    assert _choose(np.array([[0.5, 0.55, 0.9]]), [17]) == [2]
    assert _choose(np.array([[0.95, 0.99, 0.9]]), [200]) == [1]


def test_a_family_that_fails_on_other_metrics_needs_more_evidence():
    alone, others = [0.5, 0.0, 0.9], [[0.9, 0.0, 0.1]] * 3
    assert _choose(np.array([alone]), [17]) == [2]
    assert _choose(np.array([alone, *others]), [17] * 4) == [0] * 4


def test_trials_of_an_earlier_sweep_do_not_count_in_the_rank_correlation():
    table = known_table(20, 0)
    table.settings[REUSED] = [False] * 10 + [True] * 10
    table.metrics[METRIC][10:] += 100
    np.testing.assert_array_equal(surface_of(table).counted, np.arange(10))


def test_a_single_large_error_does_not_decide_the_spread():
    errors = np.random.default_rng(0).standard_normal(40)
    assert robust_spread(errors) == pytest.approx(float(np.sqrt(np.mean(errors**2))), rel=0.1)
    with_outlier = np.append(errors, 30.0)
    assert robust_spread(with_outlier) < 1.3
    assert np.sqrt(np.mean(with_outlier**2)) > 4
    assert robust_spread(np.zeros(3)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_robust_spread_is_its_own_root_mean_square_of_clipped_errors_in_any_unit(seed):
    errors = np.random.default_rng(seed).standard_t(2, 60)
    spread = robust_spread(errors)
    clipped = np.clip(errors, -3 * spread, 3 * spread)
    assert spread == pytest.approx(np.sqrt(np.mean(clipped**2)), rel=1e-6)
    assert spread <= np.sqrt(np.mean(errors**2))
    assert robust_spread(-250 * errors) == pytest.approx(250 * spread)
