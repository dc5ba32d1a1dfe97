"""Times of evaluations: baselines, controls, the guard and scores during training are counted as often as they happen."""

from dataclasses import replace

import pytest

from audio_lm.config.load import load_recipe
from audio_lm.run import benchmark_time
from audio_lm.run.benchmark_time import BenchmarkTimes
from audio_lm.run.speed import AnswerSpeed, BenchmarkSize

PROMPT, NEW = 100 * 0.001, 0.01
"""Seconds of a prompt, and of a new token."""

SIZE = BenchmarkSize(num_questions=200, prompt_tokens=100, new_tokens=10)
ONE = 200 * (PROMPT + 10 * NEW)


@pytest.fixture
def times_of(monkeypatch):
    """Function that gives the times of the demo, all of whose benchmarks have one size."""
    monkeypatch.setattr(benchmark_time, "size_of_benchmark", lambda *_: SIZE)
    monkeypatch.setattr(benchmark_time, "measure_answers", lambda *_: AnswerSpeed(0.001, NEW))

    class NoData:
        vocabulary = model = None

    def of(*overrides):
        return BenchmarkTimes(load_recipe("demo", overrides).recipe, NoData())

    return of


def test_a_stage_is_followed_by_its_benchmarks_and_by_the_guard_of_earlier_ones(times_of):
    times = times_of()
    assert times.after_stage("language") == 0
    assert times.after_stage("pretrain") == pytest.approx(7 * ONE)
    assert times.after_stage("chat") == pytest.approx(4 * ONE)
    assert times.after_stage("prefer") == pytest.approx(4 * ONE), "the guard"


def test_controls_are_answers_too(times_of):
    controls = "evaluation.benchmarks.digits_asr.controls=[silence, swapped]"
    assert times_of(controls).after_stage("pretrain") == pytest.approx(9 * ONE)


def test_an_untrained_model_answers_to_the_limit(times_of):
    times = times_of()
    limits = [each.max_new_tokens for each in times.recipe.evaluation.benchmarks.values()]
    whole = sum(200 * (PROMPT + limit * NEW) for limit in limits)
    assert times.untrained(["pretrain", "chat"]) == pytest.approx(whole)
    assert times.untrained(["prefer"]) == 0
    guard = [times.all[name].max_new_tokens for name in times.recipe.guard.benchmarks]
    assert times.before_stage("language", is_first=True) == pytest.approx(
        sum(200 * (PROMPT + limit * NEW) for limit in guard)
    )
    assert times.before_stage("language", is_first=False) == 0
    assert times.before_stage("prefer", is_first=True) == pytest.approx(4 * ONE), "the model is trained"
    assert times_of("evaluation.baselines=[]").untrained(["pretrain"]) == 0


def test_the_base_answers_the_benchmarks_of_each_stage_before_it(times_of):
    assert times_of("evaluation.baselines=[base]").before_stage("chat", is_first=False) == pytest.approx(
        4 * ONE
    )


def test_scores_during_training_answer_some_clips(times_of):
    times = times_of("stages.chat.score_every=100", "stages.chat.score_clips=50")
    assert times.during_stage("chat") == pytest.approx(4 * ONE / 4)
    assert times.during_stage("pretrain") == 0
    few = times_of("stages.chat.score_every=100", "stages.chat.score_clips=4000")
    assert few.during_stage("chat") == pytest.approx(4 * ONE)


def test_a_recipe_without_benchmarks_takes_no_time(times_of):
    times = times_of()
    times.recipe = replace(
        times.recipe, evaluation=replace(times.recipe.evaluation, benchmarks={}), guard=None
    )
    times.all = {}
    assert (
        times.after_stage("chat")
        == times.before_stage("chat", is_first=True)
        == times.untrained(["chat"])
        == 0
    )
