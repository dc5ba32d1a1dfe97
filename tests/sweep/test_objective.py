from dataclasses import replace

import numpy as np
import pytest

from audio_lm.common.errors import DataError
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.fit import fit_table
from audio_lm.sweep.objective import Objective
from tests.sweep.surfaces import known_table


def test_the_objective_is_a_weighted_mean_of_which_smaller_is_better():
    objective = Objective.of(
        {
            "loss": MetricConfig("min", 1.0),
            "bleu": MetricConfig("max", 3.0),
            "watched": MetricConfig("min", 0.0),
        }
    )
    assert objective.weights == {"loss": 0.25, "bleu": -0.75}
    np.testing.assert_allclose(
        objective.measured({"loss": np.array([2.0, np.nan]), "bleu": np.array([4.0, 1.0])}), [-2.5, np.nan]
    )


def test_a_trial_has_an_objective_if_every_metric_with_a_weight_was_measured():
    objective = Objective.of(
        {"wer": MetricConfig("min", 3), "acc": MetricConfig("max", 1), "seen": MetricConfig("min", 0)}
    )
    assert objective.value({"wer": 0.2, "acc": 0.6}) == pytest.approx(0)
    assert objective.value({"wer": 0.2, "seen": 1.0}) is None


def test_without_weights_there_is_no_objective():
    with pytest.raises(DataError, match="all weights are 0"):
        Objective.of({"loss": MetricConfig(weight=0.0)})


def test_errors_of_metrics_that_are_wrong_together_do_not_cancel():
    table = known_table(20)
    one = table.metrics["val_loss/asr"]
    same = replace(table, metrics={"a": one, "b": one})
    fit = fit_table(same, {name: MetricConfig() for name in same.metrics})
    deviation = fit.predict_objective(table.shares)[1]
    np.testing.assert_allclose(deviation, fit.surfaces["a"].predict(table.shares)[1], rtol=0.05)


def test_a_metric_that_is_better_when_larger_is_maximized():
    table = known_table(20)
    losses = table.metrics["val_loss/asr"]
    mirrored = replace(table, metrics={"a": losses, "b": -losses})
    fit = fit_table(mirrored, {"a": MetricConfig(weight=0.0), "b": MetricConfig("max")})
    assert fit.best.shares @ [0.6, 0.3, 0.1] > 0.5  # the optimum has all of the first task
    assert fit.best.per_metric["b"][0] == pytest.approx(-fit.best.per_metric["a"][0], rel=0.05)
