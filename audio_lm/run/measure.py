"""Measurement of a run before its first step: speed of each stage and of its benchmarks."""

import gc
from pathlib import Path
from tempfile import TemporaryDirectory

from audio_lm.common.env import is_main
from audio_lm.common.errors import RecipeError
from audio_lm.common.progress import progress
from audio_lm.config.schema import Recipe
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.fault_tolerance.processes import end_data_workers
from audio_lm.pipeline.benchmark_data import check_benchmarks
from audio_lm.pipeline.model import build_audio_lm, rates_of
from audio_lm.pipeline.plan_stage import StagePlan, compile_stage, plan_stage
from audio_lm.pipeline.trainer import check_ranks
from audio_lm.pipeline.vocabulary import build_vocabulary
from audio_lm.run.benchmark_time import BenchmarkTimes
from audio_lm.run.prepare import Prepared
from audio_lm.run.process_groups import ProcessGroups
from audio_lm.run.session import RunSession
from audio_lm.run.speed import (
    MIN_STEPS,
    is_measurable,
    measure_stage,
)
from audio_lm.run.start import RunStart
from audio_lm.run.time_estimate import EvaluationTimes, RunTime, StageTime, time_of_stage


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
        benchmarks = BenchmarkTimes(recipe, prepared) if is_main() else None
    with session.measuring():
        for name, point in left.items():
            stage, done = recipe.stages[name], point[1].step
            speed = None
            if stage.steps - done >= MIN_STEPS:
                folder = start.folder.stage(name)
                speed = measure_stage(recipe, name, prepared, point, folder, session.is_stopping)
            session.heartbeat.tick()
            of_stage = _evaluations(benchmarks, name, is_first=name == start.stages[0] and not done)
            stages.append(time_of_stage(name, stage, done, speed, of_stage))
    gc.collect()  # trainers and modules reference each other, and hold data workers
    session.barrier()
    untrained = benchmarks.untrained(start.stages) if benchmarks and not start.continues else 0.0
    found = RunTime(tuple(stages), untrained)
    for line in found.lines():
        session.print(line)
    return found


def _evaluations(benchmarks: BenchmarkTimes | None, name: str, *, is_first: bool) -> EvaluationTimes:
    """Evaluations of a stage; none on ranks that do not evaluate."""
    if benchmarks is None:
        return EvaluationTimes()
    return EvaluationTimes(
        before=benchmarks.before_stage(name, is_first=is_first),
        during=benchmarks.during_stage(name),
        after=benchmarks.after_stage(name),
    )


def is_worthwhile(recipe: Recipe, done: dict[str, int]) -> bool:
    """True if a measurement is cheap and short beside the run.

    Args:
        done: steps that are trained already, of each stage that is not finished.
    """
    longest = max((recipe.stages[name].steps - steps for name, steps in done.items()), default=0)
    return is_measurable(recipe) and longest >= MIN_STEPS


def measure_recipe(recipe: Recipe) -> RunTime:
    """Measure all stages of a recipe without a run; on all ranks.

    Raises:
        UserError: recipe and data do not fit, or cut-sets are not prepared.
    """
    check_ranks(recipe)
    if not is_measurable(recipe):
        raise RecipeError(
            "--measure: hardware.sharding or hardware.compile is set, and such a model is slow to build -- expected "
            "sharding=none and compile=false -- the progress line of training has its speed"
        )
    try:
        with (
            ProcessGroups(recipe.hardware.accelerator) as groups,
            TemporaryDirectory(prefix="audio_lm-") as folder,
        ):
            with groups.main_first():
                prepared = _prepared(recipe)
            groups.wait()
            benchmarks = BenchmarkTimes(recipe, prepared) if is_main() else None
            stages: list[StageTime] = []
            with progress("measuring", total=len(recipe.stages), what="stages") as advance:
                for name, stage in recipe.stages.items():
                    start = (prepared.plans[name], Cursor())
                    speed = measure_stage(recipe, name, prepared, start, Path(folder))
                    of_stage = _evaluations(benchmarks, name, is_first=not stages)
                    stages.append(time_of_stage(name, stage, 0, speed, of_stage))
                    advance(1)
            untrained = benchmarks.untrained([*recipe.stages]) if benchmarks else 0.0
            return RunTime(tuple(stages), untrained)
    finally:
        gc.collect()
        end_data_workers()


def _prepared(recipe: Recipe) -> Prepared:
    """Data order, vocabulary and model of a recipe."""
    sources = {name: compile_stage(recipe, stage) for name, stage in recipe.stages.items()}
    check_benchmarks(recipe)
    vocabulary = build_vocabulary(recipe, sources)
    plans = {
        name: plan_stage(recipe, stage, sources[name], vocabulary) for name, stage in recipe.stages.items()
    }
    model = build_audio_lm(recipe, vocabulary)
    return Prepared(sources, plans, vocabulary, model, rates_of(recipe, model))


def _start_of(start: RunStart, prepared: Prepared, name: str) -> tuple[StagePlan, Cursor] | None:
    """Data order and position that a stage starts from; None if it is finished."""
    if start.is_finished(name):
        return None
    if point := start.resume_points.get(name):
        return point.planned, point.cursor
    return prepared.plans[name], Cursor()
