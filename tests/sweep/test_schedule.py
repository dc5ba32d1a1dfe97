from dataclasses import replace

import numpy as np
import pytest

from audio_lm.common.errors import DataError
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.fit import fit_table
from audio_lm.sweep.schedule import compare_early, table_at
from tests.sweep.surfaces import TASKS, known_table, true_losses

METRICS = {f"val_loss/{task}": MetricConfig() for task in TASKS}


def with_curves(table, early):
    """Table whose metrics had the values ``early`` (N, 3) at step 30 of 90."""
    curves = {
        name: [
            ((10, 9.0), (30, first), (60, 5.0), (90, last))
            for first, last in zip(early[:, at], table.metrics[name], strict=True)
        ]
        for at, name in enumerate(METRICS)
    }
    return replace(table, curves=curves)


def noisy(losses, seed):
    return losses + 0.01 * np.random.default_rng(seed).standard_normal(losses.shape)


def test_early_values_are_those_measured_nearest_to_a_fraction_of_the_steps():
    table = with_curves(known_table(4), np.full((7, 3), 7.0))
    for fraction, value in ((0.33, 7.0), (1 / 3, 7.0), (0.35, 7.0), (0.6, 5.0), (0.12, 9.0)):
        assert table_at(table, tuple(METRICS), fraction).metrics["val_loss/asr"].tolist() == [value] * 7


def test_a_fraction_at_which_nothing_was_measured_is_refused():
    table = with_curves(known_table(4), np.full((7, 3), 7.0))
    with pytest.raises(DataError, match=r"steps \[10, 30, 60, 90\], none of them near 0.85 of a trial"):
        table_at(table, tuple(METRICS), 0.85)


def test_no_schedule_is_proposed_where_early_and_late_surfaces_agree():
    table = known_table(24)
    table = with_curves(table, noisy(1 + true_losses(table.shares), 1))
    found = compare_early(fit_table(table, METRICS))
    assert found.agreement > 0.9
    assert found.schedule is None
    assert "of the objective only" in found.why_none


def test_a_schedule_is_proposed_where_the_best_early_mixture_is_another():
    table = known_table(24)
    table = with_curves(table, noisy(true_losses(table.shares[:, ::-1])[:, [0, 0, 2]], 1))
    found = compare_early(fit_table(table, METRICS))
    assert found.why_none == ""
    assert true_losses(found.schedule.late[None]).mean() < true_losses(found.schedule.early[None]).mean()
    points = found.schedule.points(TASKS, 900)
    assert [step for step, _ in points["asr"]] == [0, 300, 300]
    assert sum(points[task][0][1] for task in TASKS) == pytest.approx(1)


def test_metrics_without_curves_are_named():
    with pytest.raises(DataError, match=r"\['val_loss/asr', .* were measured only at the end"):
        compare_early(fit_table(known_table(12), METRICS))
