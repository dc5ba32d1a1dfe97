"""Measurement of a run before its first step: speed of each stage and of its benchmarks."""

from collections.abc import Sequence
from pathlib import Path

from audio_lm.common.audio_units import Seconds
from audio_lm.common.env import is_main
from audio_lm.config.schema import Recipe
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.evaluation.config import UNTRAINED, BenchmarkConfig
from audio_lm.pipeline.plan_stage import StagePlan
from audio_lm.run.prepare import Prepared
from audio_lm.run.session import RunSession
from audio_lm.run.speed import (
    MIN_STEPS,
    AnswerSpeed,
    BenchmarkSize,
    is_measurable,
    measure_answers,
    measure_stage,
    size_of_benchmark,
)
from audio_lm.run.start import RunStart
from audio_lm.run.time_estimate import RunTime, StageTime, time_of_stage


def measure_run(start: RunStart, prepared: Prepared, session: RunSession) -> RunTime:
    """Measure the stages that this start trains, and print the time; a collective.

    Raises:
        RunEndedError: a rank received a stop signal.
    """
    recipe = start.recipe
    left = {name: point for name in start.stages if (point := _start_of(start, prepared, name)) is not None}
    if not is_worthwhile(recipe, {name: cursor.step for name, (_, cursor) in left.items()}):
        return RunTime()
    stages = []
    with session.evaluating(is_collective=False):
        benchmarks = _Benchmarks(recipe, prepared) if is_main() else None
    with session.measuring():
        for name, point in left.items():
            stage, done = recipe.stages[name], point[1].step
            speed = None
            if stage.steps - done >= MIN_STEPS:
                folder = start.folder.stage(name)
                speed = measure_stage(recipe, name, prepared, point, folder, session.is_stopping)
            session.heartbeat.tick()
            evaluation = benchmarks.seconds_of(name) if benchmarks else 0.0
            stages.append(time_of_stage(name, stage, done, speed, evaluation=evaluation))
    session.barrier()
    untrained = benchmarks.seconds_untrained(start.stages) if benchmarks and not start.continues else 0.0
    found = RunTime(tuple(stages), untrained)
    for line in found.lines():
        session.print(line)
    return found


def is_worthwhile(recipe: Recipe, done: dict[str, int]) -> bool:
    """True if a measurement is cheap and short beside the run.

    Args:
        done: steps that are trained already, of each stage that is not finished.
    """
    longest = max((recipe.stages[name].steps - steps for name, steps in done.items()), default=0)
    return is_measurable(recipe) and longest >= MIN_STEPS


def measure_plans(recipe: Recipe, prepared: Prepared, folder: Path) -> RunTime:
    """Measure all stages of a recipe without a run, in one process.

    Args:
        folder: working folder of the trainers, which write nothing.
    """
    benchmarks = _Benchmarks(recipe, prepared)
    stages: list[StageTime] = []
    for name, stage in recipe.stages.items():
        speed = measure_stage(recipe, name, prepared, (prepared.plans[name], Cursor()), folder)
        stages.append(time_of_stage(name, stage, 0, speed, evaluation=benchmarks.seconds_of(name)))
    return RunTime(tuple(stages), benchmarks.seconds_untrained([*recipe.stages]))


def _start_of(start: RunStart, prepared: Prepared, name: str) -> tuple[StagePlan, Cursor] | None:
    """Data order and position that a stage starts from; None if it is finished."""
    if start.is_finished(name):
        return None
    if point := start.resume_points.get(name):
        return point.planned, point.cursor
    return prepared.plans[name], Cursor()


class _Benchmarks:
    """Times of a recipe's benchmarks, from the speed of one of them and the sizes of all."""

    def __init__(self, recipe: Recipe, prepared: Prepared) -> None:
        self.all: dict[str, BenchmarkConfig] = recipe.evaluation.benchmarks
        self.has_baseline = UNTRAINED in recipe.evaluation.baselines
        self.sizes: dict[str, BenchmarkSize] = {
            name: size_of_benchmark(recipe, benchmark, prepared.vocabulary)
            for name, benchmark in self.all.items()
        }
        self.speed = AnswerSpeed(0.0, 0.0)
        if self.all:
            longest = max(self.all.values(), key=lambda benchmark: benchmark.max_new_tokens)
            self.speed = measure_answers(recipe, longest, prepared.model, prepared.vocabulary)

    def seconds_of(self, stage: str) -> Seconds:
        """Evaluation of a trained stage."""
        return sum(
            self.sizes[name].seconds(self.speed) for name, each in self.all.items() if each.stage == stage
        )

    def seconds_untrained(self, stages: Sequence[str]) -> Seconds:
        """Evaluation of the untrained model, which seldom ends an answer before its limit."""
        if not self.has_baseline:
            return 0.0
        return sum(
            self.sizes[name].seconds(self.speed, new_tokens=each.max_new_tokens)
            for name, each in self.all.items()
            if each.stage in stages
        )
