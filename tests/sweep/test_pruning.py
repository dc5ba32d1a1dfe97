"""Early end of trials that are bad on every task."""

import numpy as np
import pytest

from audio_lm.sweep.config import MetricConfig, PruningConfig
from audio_lm.sweep.pruning import Pruner

METRICS = {
    "val_loss/asr": MetricConfig("min"),
    "val_acc/sec": MetricConfig("max"),
    "val_loss/watched": MetricConfig("min", weight=0),
    "digits/wer": MetricConfig("min"),
}
STEPS = 100


def curves(asr, sec, step=50):
    """Two curves that reach values at a step; the watched one is always the best."""
    return {
        "val_loss/asr": [(10, 9.0), (step, asr)],
        "val_acc/sec": [(10, 0.1), (step, sec)],
        "val_loss/watched": [(10, 0.0), (step, 0.0)],
    }


OTHERS = [curves(asr, sec) for asr, sec in ((1, 0.9), (2, 0.8), (3, 0.7), (4, 0.6))]


@pytest.fixture
def pruner():
    return Pruner(PruningConfig(after=0.3, min_trials=4, worst=0.5), METRICS, STEPS)


def test_a_trial_that_is_bad_on_all_tasks_ends_with_the_figures(pruner):
    reason = pruner.reason(curves(5, 0.5), OTHERS)
    assert reason == "at step 50: val_loss/asr 5, worse than 4 of 4; val_acc/sec 0.5, worse than 4 of 4"


def test_a_trial_that_is_good_on_one_task_goes_on(pruner):
    assert pruner.reason(curves(5, 0.95), OTHERS) == ""
    assert pruner.reason(curves(0.5, 0.1), OTHERS) == ""
    assert pruner.reason(curves(2.5, 0.5), OTHERS) == "", "in the better half of one task"


def test_early_steps_few_trials_and_other_steps_decide_nothing(pruner):
    assert pruner.reason(curves(5, 0.5, step=29), [curves(1, 0.9, step=29)] * 4) == ""
    assert pruner.reason(curves(5, 0.5), OTHERS[:3]) == ""
    assert pruner.reason(curves(5, 0.5, step=60), OTHERS) == "", "nobody was measured at step 60"
    assert pruner.reason({}, OTHERS) == ""


@pytest.mark.parametrize("seed", range(10))
def test_a_trial_ends_if_it_is_in_the_worst_part_on_every_metric(seed):
    """With ranks of numpy among the finished trials; no two values are equal."""
    rng = np.random.default_rng(seed)
    losses, scores = rng.random(9), rng.random(9)
    others = [curves(*pair) for pair in zip(losses, scores, strict=True)]
    pruner = Pruner(PruningConfig(after=0.3, min_trials=4, worst=0.4), METRICS, STEPS)
    for loss, value in rng.random((30, 2)):
        is_bad = (losses < loss).mean() > 0.6 and (scores > value).mean() > 0.6
        assert bool(pruner.reason(curves(loss, value), others)) == is_bad
