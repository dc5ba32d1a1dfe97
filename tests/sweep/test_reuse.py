from dataclasses import replace

import numpy as np
import pytest

from audio_lm.common.errors import DataError
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.fit import fit_table
from audio_lm.sweep.regression.surface import REUSED
from audio_lm.sweep.reuse import add_reused
from tests.sweep.surfaces import TASKS, known_table, true_losses

METRICS = {f"val_loss/{task}": MetricConfig() for task in TASKS}


def old_table(count=30, offset=0.3):
    """Earlier sweep over two tasks, all of whose losses differ by an offset."""
    rng = np.random.default_rng(5)
    shares = rng.dirichlet(np.ones(2), count)
    table = known_table(count, repeats=0)
    losses = true_losses(np.hstack([shares, np.zeros((count, 1))])) + offset
    metrics = {"val_loss/asr": losses[:, 0], "val_loss/aac": losses[:, 1]}
    return replace(table, tasks=TASKS[:2], shares=shares, metrics=metrics)


def test_an_earlier_trial_has_no_share_of_the_added_task():
    table = add_reused(known_table(6), old_table(4))
    assert table.runs[-1] == "reused/003"
    np.testing.assert_array_equal(table.shares[-4:, 2], 0)
    assert np.isnan(table.metrics["val_loss/lid"][-4:]).all()
    assert table.settings[REUSED] == [False] * 9 + [True] * 4
    assert len(table.purposes) == len(table.seeds) == len(table)


@pytest.mark.slow
def test_earlier_trials_help_to_predict_although_their_losses_have_an_offset():
    table, unseen = known_table(6, repeats=0, seed=3), known_table(200, 0, noise=0, seed=9).shares
    truth = true_losses(unseen)[:, 1]
    alone = fit_table(table, METRICS).surfaces["val_loss/aac"].predict(unseen)[0]
    helped = fit_table(add_reused(table, old_table()), METRICS).surfaces["val_loss/aac"].predict(unseen)[0]
    assert np.abs(helped - truth).mean() < 0.8 * np.abs(alone - truth).mean()


def test_the_recommendation_is_one_of_the_new_sweep():
    fit = fit_table(add_reused(known_table(12), old_table()), METRICS)
    assert fit.settings == {REUSED: False}


@pytest.mark.parametrize(
    ("old", "words"),
    [
        (replace(old_table(), tasks=("asr", "sid")), "unknown task of the earlier sweep 'sid'"),
        (replace(old_table(), settings={"prompt": ["a"] * 30}), r"varies the keys \['prompt'\]"),
        (replace(old_table(), metrics={"wer": np.ones(30)}), "expected a common metric"),
    ],
)
def test_a_sweep_that_cannot_be_reused_is_refused(old, words):
    with pytest.raises(DataError, match=words):
        add_reused(known_table(6), old)
