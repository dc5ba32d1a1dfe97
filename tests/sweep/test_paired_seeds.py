"""Variance of paired and of free differences, on numbers with a known covariance."""

import numpy as np
import pytest

from audio_lm.common.errors import DataError
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.facts import SweepFacts
from audio_lm.sweep.ledger import LedgerState, TrialState
from audio_lm.sweep.paired_seeds import measured_variances, paired_variance
from audio_lm.sweep.trial import Trial


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_the_ratio_is_one_minus_the_correlation_of_equal_variances(correlation):
    rng = np.random.default_rng(0)
    first, second = rng.multivariate_normal([0, 1], [[1, correlation], [correlation, 1]], 20_000).T
    found = paired_variance("wer", first, second)
    assert found.ratio == pytest.approx(1 - correlation, abs=0.03)
    assert found.interval[0] < 1 - correlation < found.interval[1]
    assert found.correlation == pytest.approx(correlation, abs=0.03)
    assert found.effect == pytest.approx(-1, abs=0.05)


def test_the_free_variance_is_that_of_all_pairs_with_different_seeds():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 500))
    differences = np.subtract.outer(first, second)[~np.eye(500, dtype=bool)]
    assert paired_variance("wer", first, second).free == pytest.approx(differences.var(), rel=0.01)


def test_equal_values_have_no_ratio_and_raise_no_error():
    found = paired_variance("acc", np.ones(6), np.ones(6))
    assert np.isnan(found.ratio)
    assert found.paired == found.free == 0


def state_of(num_seeds):
    """Two mixtures with some seeds; the last trial has not ended."""
    facts = SweepFacts("s-1", "demo", "pretrain", ("a", "b"), {"wer": MetricConfig(), "acc": MetricConfig()})
    trials = {}
    for number in range(2 * num_seeds):
        seed, at = divmod(number, 2)
        values = {"wer": seed + 0.1 * at} | ({"acc": 0.5} if seed else {})
        trial = Trial(f"{number:03d}", "repeat", {"a": at, "b": 1 - at}, seed=seed)
        trials[trial.name] = TrialState(trial, "finished", values=values)
    trials[trial.name].status = "running"
    return LedgerState(facts, trials)


def test_only_complete_pairs_and_metrics_of_all_pairs_count():
    (found,) = measured_variances(state_of(8))
    assert (found.metric, found.num_pairs) == ("wer", 7)
    assert found.ratio == pytest.approx(0, abs=1e-9)
    assert "ratio 0.00" in found.sentence
    with pytest.raises(DataError, match="5 pairs of trials have finished -- expected 6 or more"):
        measured_variances(state_of(6))
