"""Check the benchmarks of a recipe before a model is built.

The path of the scores follows from the source name. Task and metrics must exist, and two benchmarks must not write the
same file or score. Nothing heavy is imported, so that recipes are checked quickly; clips are read elsewhere.
"""

import re
from collections.abc import Iterable

from audio_lm.common.errors import RecipeError
from audio_lm.common.source_name import parse_source
from audio_lm.evaluation.config import BenchmarkConfig, EvaluationConfig
from audio_lm.metrics.registry import find_metric
from audio_lm.tasks.registry import CHAT, TASKS, check_task_name


def predictions_name(benchmark: str) -> str:
    """Name of the file with a benchmark's answers; other characters than letters, digits and ``_.-`` become dashes.

    >>> predictions_name("digits/asr test")
    'digits-asr-test.jsonl'
    """
    return re.sub(r"[^\w.-]", "-", benchmark) + ".jsonl"


def check_benchmark(name: str, evaluation: EvaluationConfig, own_tasks: Iterable[str] = ()) -> None:
    """Check that a benchmark can be evaluated and that its files and scores are its own.

    Args:
        own_tasks: names of the tasks that the recipe defines.

    Raises:
        RecipeError: a check failed; the message names the benchmark.
    """
    benchmark = evaluation.benchmarks[name]
    try:
        parse_source(benchmark.source)
        check_task_name(benchmark.task, [*TASKS, *own_tasks, CHAT])
        _check_metrics(benchmark.metrics)
    except RecipeError as error:
        raise RecipeError(f"benchmark {name!r}: {error}") from error
    for other in evaluation.benchmarks:
        if other == name:
            return  # each pair is checked once, when the later of the two is checked
        _check_distinct(name, other, evaluation)


def _check_metrics(metrics: list[str]) -> None:
    if not metrics:
        raise RecipeError(
            "metrics is empty, so no metric scores it; name one of audio_lm/metrics/registry.py"
        )
    for metric in metrics:
        find_metric(metric)


def shared_scores(first: BenchmarkConfig, second: BenchmarkConfig) -> list[str]:
    """Metrics whose scores two benchmarks would write under the same path."""
    is_same = (first.source, first.task) == (second.source, second.task)
    return sorted(set(first.metrics) & set(second.metrics)) if is_same else []


def _check_distinct(name: str, other: str, evaluation: EvaluationConfig) -> None:
    if predictions_name(name) == predictions_name(other):
        raise RecipeError(
            f"benchmarks {other!r} and {name!r} would both write predictions/{predictions_name(name)}; "
            f"rename one"
        )
    benchmark = evaluation.benchmarks[name]
    if shared := shared_scores(benchmark, evaluation.benchmarks[other]):
        raise RecipeError(
            f"benchmarks {other!r} and {name!r} would both write {shared[0]!r} of {benchmark.task!r} on "
            f"{benchmark.source!r}, and one score would overwrite the other; remove one or move it to another recipe"
        )
