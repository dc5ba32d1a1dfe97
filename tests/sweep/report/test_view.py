import math
from dataclasses import replace

import numpy as np
import pytest

from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.report.view import OBJECTIVE, FitView
from tests.sweep.report.conftest import known_view


def test_the_objective_stands_before_the_metrics(view):
    assert view.names == (OBJECTIVE, "val_loss/asr", "val_loss/lid", "events_sec/acc")
    mean, _ = view.predict(OBJECTIVE, view.fit.table.shares)
    parts = [view.predict(name, view.fit.table.shares)[0] for name in view.metrics]
    np.testing.assert_allclose(mean, (parts[0] + parts[1] - parts[2]) / 3)


def test_an_objective_of_one_metric_is_not_shown_twice():
    assert known_view().names == ("val_loss/asr", "val_loss/lid", "events_sec/acc")


def test_metrics_with_larger_weights_come_first(fit):
    metrics = {**fit.metrics, "events_sec/acc": MetricConfig("max", 5.0)}
    assert FitView(replace(fit, metrics=metrics)).metrics[0] == "events_sec/acc"


@pytest.mark.parametrize(("noise", "shown"), [(0.01, "0.12"), (0.002, "0.123"), (3.0, "0"), (0, "0.1235")])
def test_values_have_as_many_digits_as_the_noise_allows(noise, shown):
    assert known_view(noise=noise).text("val_loss/asr", 0.12345) == shown
    assert known_view(noise=noise).text("val_loss/asr", math.nan) == ""


def test_the_smallest_difference_is_twice_the_noise_or_none_is_large_enough(view):
    assert known_view(noise=0.25).threshold("val_loss/asr") == 0.5
    assert known_view(noise=0).threshold("val_loss/asr") == math.inf
    assert view.threshold(OBJECTIVE) == 2 * view.fit.objective_noise
