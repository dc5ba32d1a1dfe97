import io
import json

import pytest
from rich.console import Console

from audio_lm.run.time_estimate import RunTime, StageTime
from audio_lm.sweep.load import load_sweep
from audio_lm.sweep.plan import plan_sweep, print_plan, time_of_trials
from tests.sweep.small_sweeps import write_recipe, write_sweep


@pytest.fixture
def make_plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(more=""):
        write_recipe(tmp_path)
        write_recipe(tmp_path, "full", steps=2000)
        return plan_sweep(load_sweep(write_sweep(tmp_path, more)))

    return make


def text_of(plan, time=None):
    output = io.StringIO()
    print_plan(plan, Console(width=200, file=output), time)
    return output.getvalue()


def test_the_plan_shows_repetition_in_trials_beside_the_full_size_recipe(make_plan):
    plan = make_plan("match_epochs_of: full.yaml\n")
    by_task = {source.task: source for source in plan.sources}
    melodies = by_task["mgr"]
    assert melodies.epochs_of_recipe == pytest.approx(melodies.epochs_in_full, rel=0.03)
    assert melodies.rows[1] == pytest.approx(1200 / 20, abs=1)
    text = text_of(plan)
    assert "epochs in full" in text
    (row,) = (line for line in text.splitlines() if "my/melodies-train" in line and "1,200" in line)
    assert f"{melodies.epochs_in_full:.2f}" in row
    assert not [warning for warning in plan.warnings if "times the epochs" in warning]


def test_the_plan_without_a_full_size_recipe_has_no_such_column(make_plan):
    plan = make_plan()
    assert plan.sources[0].epochs_in_full is None
    assert "epochs in full" not in text_of(plan)
    assert "full size" not in text_of(plan)


def test_a_trial_too_short_to_match_is_warned_about(make_plan):
    plan = make_plan("match_epochs_of: full.yaml\nbudget: {steps: 1}\n")
    assert [
        warning
        for warning in plan.warnings
        if "my/melodies-train" in warning and "times the epochs" in warning
    ]


def test_every_trial_has_a_line(make_plan):
    plan = make_plan()
    lines = text_of(plan).splitlines()
    for planned in plan.trials:
        assert [line for line in lines if f" {planned.trial.name} " in line and planned.trial.purpose in line]
        assert planned.epochs == max(plan.sweep.epochs(planned.trial.shares).values())


def test_equal_reference_mixtures_are_named(make_plan):
    overrides = "overrides: ['stages.pretrain.mixture.weights={sec: 1, mna: 1, mgr: 1}']\n"
    assert "trials uniform and recipe have the same mixture" in make_plan(overrides).warnings


def test_the_plan_is_json(make_plan):
    table = json.loads(json.dumps(make_plan().as_table()))
    assert len(table["trials"]) == 16
    assert table["trials"][0]["overrides"][-1] == "seed=0"


def test_the_time_of_a_trial_grows_with_its_steps_only_in_the_varied_stage(make_plan):
    plan = make_plan("budget: {steps: 50}\n")
    time = RunTime((StageTime("words", 10, 1.0), StageTime("pretrain", 50, 2.0, evaluation=7.0)))
    assert time_of_trials(plan, time) == pytest.approx([117.0] * 16)
    assert "about 31 min for all trials one after another, 1.9 min for the longest" in text_of(plan, time)


def test_a_recipe_outside_the_bounds_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bounds = {"over: [sec, mna, mgr]": "over: [sec, mna, mgr]\n    max: {sec: 0.3}"}
    plan = plan_sweep(load_sweep(write_sweep(tmp_path, replace=bounds)))
    assert [warning for warning in plan.warnings if "own weights are outside the bounds" in warning]
