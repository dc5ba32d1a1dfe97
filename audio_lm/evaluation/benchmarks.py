"""Check the benchmarks of a recipe before a model is built.

Source, task and metrics must exist, and two benchmarks must not write the same file. Scores are named after their
benchmark. Nothing heavy is imported, so that recipes are checked quickly; clips are read elsewhere.
"""

import re
from collections.abc import Iterable

from audio_lm.common.errors import RecipeError
from audio_lm.common.source_name import parse_source
from audio_lm.evaluation.config import BASELINES, CONTROLS, GUARD, EvaluationConfig
from audio_lm.metrics.registry import find_metric
from audio_lm.tasks.registry import CHAT, TASKS, check_task_name


def predictions_name(benchmark: str) -> str:
    """Name of the file with a benchmark's answers; other characters than letters, digits and ``_.-`` become dashes.

    >>> predictions_name("digits/asr test")
    'digits-asr-test.jsonl'
    """
    return re.sub(r"[^\w.-]", "-", benchmark) + ".jsonl"


def check_benchmark(name: str, evaluation: EvaluationConfig, own_tasks: Iterable[str] = ()) -> None:
    """Check that a benchmark can be evaluated and that its file and scores are its own.

    Args:
        own_tasks: names of the tasks that the recipe defines.

    Raises:
        RecipeError: a check failed; the message names the benchmark.
    """
    benchmark = evaluation.benchmarks[name]
    if (first := name.partition("/")[0]) in (*BASELINES, *CONTROLS, GUARD):
        kind = "control" if first in CONTROLS else "guard" if first == GUARD else "baseline"
        raise RecipeError(
            f"benchmark {name!r} has the name of a {kind}, so their scores would be one; rename it"
        )
    try:
        parse_source(benchmark.source)
        check_task_name(benchmark.task, [*TASKS, *own_tasks, CHAT])
        _check_metrics(benchmark.metrics, is_closed=benchmark.closed)
    except RecipeError as error:
        raise RecipeError(f"benchmark {name!r}: {error}") from error
    for other in evaluation.benchmarks:
        if other == name:
            return  # each pair is checked once, when the later of the two is checked
        _check_distinct(name, other)


def _check_metrics(metrics: list[str], *, is_closed: bool) -> None:
    if not metrics:
        raise RecipeError(
            "metrics is empty, so no metric scores it; name one of audio_lm/metrics/registry.py"
        )
    for metric in metrics:
        if find_metric(metric).reads_logprobs and not is_closed:
            raise RecipeError(
                f"metric {metric!r} needs the probabilities of allowed answers; set closed: true, or remove it"
            )


def _check_distinct(name: str, other: str) -> None:
    if predictions_name(name) == predictions_name(other):
        raise RecipeError(
            f"benchmarks {other!r} and {name!r} would both write predictions/{predictions_name(name)}; "
            f"rename one"
        )
