from dataclasses import replace

import numpy as np
import pytest

from audio_lm.common.errors import DataError
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.experts import CHUNK, MixedProbabilities, features_from
from audio_lm.sweep.fit import fit_table
from tests.sweep.surfaces import TASKS, known_table, true_losses

METRICS = {f"val_loss/{task}": MetricConfig() for task in TASKS}


def test_the_loss_of_one_expert_is_its_own():
    logs = np.log(np.random.default_rng(0).random((3, 50)))
    np.testing.assert_allclose(MixedProbabilities(logs)(np.eye(3)), -logs.mean(axis=1))


def test_mixed_probabilities_are_averaged_before_the_logarithm():
    logs = np.log(np.array([[0.9, 0.1], [0.2, 0.6]]))
    expected = -(np.log(0.5 * 0.9 + 0.5 * 0.2) + np.log(0.5 * 0.1 + 0.5 * 0.6)) / 2
    assert MixedProbabilities(logs)(np.array([[0.5, 0.5]]))[0] == pytest.approx(expected)


def test_more_points_than_fit_into_memory_at_a_time():
    logs = np.log(np.random.default_rng(0).random((3, 5)))
    shares = np.random.default_rng(1).dirichlet(np.ones(3), 2 * CHUNK + 3)
    whole = MixedProbabilities(logs)(shares)
    np.testing.assert_allclose(whole[-1:], MixedProbabilities(logs)(shares[-1:]))
    assert len(whole) == len(shares)


@pytest.mark.slow
def test_a_cheaper_table_helps_to_predict():
    table, unseen = known_table(7, 0, seed=3), known_table(200, 0, seed=9).shares
    cheap = known_table(40, 0, seed=4)
    cheap = replace(cheap, metrics={name: 1 + 2 * values for name, values in cheap.metrics.items()})
    cheap = replace(cheap, tasks=cheap.tasks[::-1], shares=cheap.shares[:, ::-1])  # in any order
    truth = true_losses(unseen).mean(axis=1)
    alone = fit_table(table, METRICS).predict_objective(unseen)[0]
    features = features_from(cheap, TASKS, METRICS)
    helped = fit_table(table, METRICS, features=features).predict_objective(unseen)[0]
    assert np.abs(helped - truth).mean() < 0.7 * np.abs(alone - truth).mean()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": ("asr", "aac", "sid")}, "expected those of the sweep"),
        ({"metrics": {"wer": np.ones(7)}}, "expected one of the sweep's"),
    ],
)
def test_a_table_of_other_tasks_or_metrics_is_refused(change, words):
    with pytest.raises(DataError, match=words):
        features_from(replace(known_table(7, 0), **change), TASKS, METRICS)
