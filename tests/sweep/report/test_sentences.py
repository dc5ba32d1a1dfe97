import re
from dataclasses import replace

import numpy as np
import pytest

from audio_lm.sweep.report.effects import transfer_matrix
from audio_lm.sweep.report.sentences import Answers
from audio_lm.sweep.report.view import FitView
from tests.sweep.report.conftest import known_view, make_table, real_fit

CLAIMS = re.compile(r"\b(better by|worse by|improve|worsen)\b")


def text_of(view):
    return "\n".join(line for lines in Answers(view).sections().values() for line in lines)


def test_the_best_mixture_comes_first_with_its_shares_and_interval(view):
    first, objective, *_ = Answers(view).sections()["Best mixture"]
    for task, share in zip(view.tasks, view.fit.best.shares, strict=True):
        assert f"`{task}` {100 * share:.1f} %" in first
    assert "95 % interval" in objective


def test_exactly_the_named_effects_are_stated(view):
    matrix = transfer_matrix(view, view.fit.table.shares[2])
    named = {(effect.task, metric) for metric, row in matrix.items() for effect in row if effect.is_named}
    assert named
    lines = Answers(view).sections()["What a task gives to the others"]
    stated = set()
    for line in lines:
        if found := re.search(r"points more of `(\w+)` (.*)", line):
            stated |= {(found[1], metric) for metric in re.findall(r"`([^`]+)` by", found[2])}
    assert stated == named
    assert f"{12 - len(named)} of 12 effects are within the noise." in lines


def test_nothing_smaller_than_the_noise_is_named():
    noisy = real_fit(make_table())
    noisy = replace(noisy, noise=dict.fromkeys(noisy.noise, 50.0))
    lines = [line for line in text_of(FitView(noisy)).splitlines() if "`objective`" not in line]
    assert not [line for line in lines if CLAIMS.search(line)]
    unknown = known_view(noise=0)
    assert not CLAIMS.search(text_of(unknown))
    assert "no effect is named" in text_of(unknown)


def test_tasks_that_lose_are_named_beside_those_that_win(view):
    best = replace(view.fit.best, shares=np.full(3, 1 / 3))
    against_recipe = Answers(FitView(replace(view.fit, best=best))).sections()["Against the baselines"][0]
    assert "better by" in against_recipe
    assert "worse by" in against_recipe
    assert re.search(r"in `val_loss/asr` \(\d", against_recipe)


def test_without_trust_no_mixture_is_recommended_and_the_reason_is_given(view):
    doubtful = replace(view.fit, best=None, why_none="the correlation is 0.31 only", trust=0.31)
    sections = Answers(FitView(doubtful)).sections()
    assert sections["Best mixture"] == ["No mixture is recommended: the correlation is 0.31 only."]
    assert "Against the baselines" not in sections


def test_a_bad_mixture_that_moves_no_metric_is_a_warning(view):
    table = view.fit.table
    flat = {
        name: np.where(np.arange(len(table)) == 3, column[2], column)
        for name, column in table.metrics.items()
    }
    assert "moves no metric" in text_of(FitView(replace(view.fit, table=replace(table, metrics=flat))))
    assert "react to the mixture" in text_of(view)


@pytest.mark.parametrize("sentence", ["trial 003 failed: out of memory", "2 trials are running."])
def test_what_is_left_out_is_stated(view, sentence):
    lines = Answers(FitView(replace(view.fit, left_out=(sentence,)))).sections()["Left out"]
    assert lines == [sentence.rstrip(".") + "."]
