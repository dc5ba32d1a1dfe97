import json

import numpy as np
import pytest

from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.fit import fit_table
from audio_lm.sweep.fit_text import fit_json, fit_lines, proposal_lines
from tests.sweep.surfaces import TASKS, known_table

METRICS = {f"val_loss/{task}": MetricConfig() for task in TASKS}


@pytest.fixture(scope="module")
def fit():
    return fit_table(known_table(16), METRICS, prior=np.array([0.5, 0.3, 0.2]))


def test_the_text_has_every_metric_the_best_mixture_and_the_references(fit):
    text = "\n".join(fit_lines(fit))
    assert text.startswith("19 trials, 17 mixtures of 3 tasks\n")
    for name in METRICS:
        assert f"\n{name}" in text
    assert "best mixture: " in text
    assert "recipe's own weights: " in text
    assert "uniform mixture: " in text


def test_without_repeats_no_noise_is_printed():
    lines = fit_lines(fit_table(known_table(12, 0), METRICS))
    assert all(line.split()[-3:] == ["-", "-", "-"] for line in lines if line.startswith("val_loss/"))


def test_a_fit_that_recommends_nothing_says_why():
    table = known_table(16)
    rng = np.random.default_rng(0)
    for values in table.metrics.values():
        values[:] = rng.standard_normal(len(table))
    text = "\n".join(fit_lines(fit_table(table, METRICS)))
    assert "no recommendation: the regression ranks left-out mixtures" in text


def test_the_json_table_is_json(fit):
    table = json.loads(json.dumps(fit_json(fit)))
    assert sum(table["best"]["shares"].values()) == pytest.approx(1)
    assert table["metrics"]["val_loss/asr"]["model"] in ("gp", "boosting", "log_linear")


def test_proposals_have_a_line_each(fit):
    lines = proposal_lines(fit.table.tasks, np.array([[0.2, 0.5, 0.3], [1, 0, 0]]), fit)
    assert lines[0].startswith("next: aac 0.500, lid 0.300, asr 0.200; objective ")
    assert len(lines) == 2
