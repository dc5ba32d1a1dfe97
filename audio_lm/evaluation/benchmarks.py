"""A benchmark as it stands in a recipe, looked at before anything is built.

A source name says where scores will stand; task and metrics have to exist, and
no two benchmarks may write to one place. Nothing heavy is imported, so that a
recipe can be checked at once; reading clips and asking is elsewhere.
"""

import re

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.source_name import parse_source
from audio_lm.evaluation.config import BenchmarkConfig, EvaluationConfig
from audio_lm.metrics.registry import find_metric
from audio_lm.tasks.registry import CHAT, TASKS


def predictions_name(benchmark: str) -> str:
    """The file of a benchmark's answers; what a file name cannot hold becomes a dash.

    >>> predictions_name("digits/asr test")
    'digits-asr-test.jsonl'
    """
    return re.sub(r"[^\w.-]", "-", benchmark) + ".jsonl"


def check_benchmark(name: str, evaluation: EvaluationConfig) -> None:
    """Whether a benchmark can be put to a model and its scores kept.

    Raises:
        RecipeError: it cannot; the message names the benchmark.
    """
    benchmark = evaluation.benchmarks[name]
    try:
        parse_source(benchmark.source)
        _check_task(benchmark.task)
        _check_metrics(benchmark.metrics)
    except RecipeError as error:
        raise RecipeError(f"benchmark {name!r}: {error}") from error
    for other in evaluation.benchmarks:
        if other == name:
            return  # every pair is looked at once, by the later of the two
        _check_apart(name, other, evaluation)


def _check_task(task: str) -> None:
    if task != CHAT and task not in TASKS:
        raise RecipeError(unknown("task", task, [*TASKS, CHAT], see="audio_lm/tasks/"))


def _check_metrics(metrics: list[str]) -> None:
    if not metrics:
        raise RecipeError("no metric judges it; name one of audio_lm/metrics/registry.py")
    for metric in metrics:
        find_metric(metric)


def shared_scores(ours: BenchmarkConfig, theirs: BenchmarkConfig) -> list[str]:
    """Metrics whose scores two benchmarks would both write to one place."""
    is_same = (ours.source, ours.task) == (theirs.source, theirs.task)
    return sorted(set(ours.metrics) & set(theirs.metrics)) if is_same else []


def _check_apart(name: str, other: str, evaluation: EvaluationConfig) -> None:
    if predictions_name(name) == predictions_name(other):
        raise RecipeError(
            f"benchmarks {other!r} and {name!r} would both write predictions/{predictions_name(name)}; "
            f"rename one"
        )
    ours = evaluation.benchmarks[name]
    if shared := shared_scores(ours, evaluation.benchmarks[other]):
        raise RecipeError(
            f"benchmarks {other!r} and {name!r} would both write {shared[0]!r} of {ours.task!r} on "
            f"{ours.source!r}, and one score would hide the other; leave one out or take it to a recipe of its own"
        )
