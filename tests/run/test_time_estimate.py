import random
from dataclasses import replace

import pytest

from audio_lm.config.load import load_recipe
from audio_lm.run.speed import StageSpeed
from audio_lm.run.time_estimate import EvaluationTimes, RunTime, StageTime, time_of_stage


@pytest.fixture
def stage(small_recipe):
    overrides = ["stages.pretrain.steps=100", "stages.pretrain.validate_every=30"]
    return load_recipe(small_recipe, [*overrides, "stages.pretrain.checkpoint_every=50"]).recipe.stages[
        "pretrain"
    ]


def test_the_time_of_a_stage_has_its_steps_validations_and_checkpoints(stage):
    whole = time_of_stage("pretrain", stage, 0, StageSpeed(2.0, 5.0, 1.0), EvaluationTimes(after=7.0))
    assert (whole.steps, whole.validations, whole.copies) == (100, 3, 2.0)
    assert whole.training == 100 * 2 + 3 * 5 + 2
    rest = time_of_stage("pretrain", stage, 60, StageSpeed(2.0, 5.0, 1.0))
    assert rest.training == 40 * 2 + 5 + 1, "the validation of step 90, the checkpoint of step 100"
    assert time_of_stage("pretrain", stage, 0, None).training == 0


def test_the_time_after_a_stage_has_its_evaluation_and_the_later_stages():
    first, second = StageTime("a", 10, 1.0, evaluation=3.0), StageTime("b", 20, 2.0, evaluation=4.0)
    times = RunTime((first, second), untrained=5.0)
    assert times.total == 10 + 40 + 3 + 4 + 5
    assert times.after_training("a") == 3 + 4 + 40
    assert times.after_training("b") == 4
    assert times.after_training("c") is None
    assert RunTime((first, StageTime("b", 20, None))).after_training("a") is None
    assert times.as_table() == {"a": 10.0, "b": 40.0, "evaluation": 12.0, "total": 62.0}


def test_the_line_names_the_parts_and_a_long_run_gets_a_hint():
    short = RunTime((StageTime("a", 10, 1.0, 2, 4.0), StageTime("b", 3, None)), untrained=5.0)
    assert short.lines() == [
        "about 23 s from here: a 10 steps at 1 s and 2 validations of 4 s, b 3 steps (not measured), evaluation 5 s"
    ]
    (line, hint) = RunTime((StageTime("pretrain", 500, 7.5),)).lines()
    assert line == "about 1 h 2 min from here: pretrain 500 steps at 7.5 s"
    assert hint.startswith(
        "100 % of it are steps of 'pretrain'; lower stages.pretrain.steps or stages.pretrain.pack"
    )
    assert "took" in short.report()[0]
    assert not RunTime().lines()
    assert not RunTime().report()
    assert not RunTime((StageTime("b", 3, None),)).lines()


def test_times_are_those_of_a_run_step_by_step(stage):
    rng = random.Random(0)
    for _ in range(60):
        steps, done = rng.randint(1, 60), rng.randint(0, 70)
        every = {name: rng.randint(1, 25) for name in ("validate_every", "checkpoint_every", "score_every")}
        speed = StageSpeed(2.0, 5.0, 0.5, reference=11.0, setup=3.0)
        config, times = replace(stage, steps=steps, **every), EvaluationTimes(13.0, 7.0, 17.0)
        found = time_of_stage("a", config, done, speed, times)
        expected, num_copies = 3.0 + (0.0 if done else 11.0), 0
        for step in range(done + 1, steps + 1):
            is_due = {name: step % distance == 0 for name, distance in every.items()}
            expected += 2.0 + 5.0 * is_due["validate_every"] + 7.0 * is_due["score_every"]
            num_copies += is_due["checkpoint_every"]
        if done < steps:
            assert found.training == pytest.approx(expected + 0.5 * max(1, num_copies))
        assert (found.before, found.evaluation) == (0.0 if done else 13.0, 17.0)
