"""Score saved answers.

The key of a score is ``<benchmark>/<metric>``; for a baseline, ``untrained/<benchmark>/<metric>``, ``majority/...`` or
``base/...``; for the model of a later stage, ``guard/<stage>/<benchmark>/<metric>``. Runs of an earlier release have
``<split>/<corpus>/<subset>/<task>/<metric>``.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError, ProgramError, RecipeError, UserError
from audio_lm.common.files import JsonTable, read_json, write_text
from audio_lm.common.source_name import parse_source
from audio_lm.evaluation.config import UNTRAINED, BenchmarkConfig
from audio_lm.evaluation.predict import Prediction
from audio_lm.metrics.registry import MetricRow, current_name, find_metric

log = logging.getLogger(__name__)


def score_benchmark(predictions: Sequence[Prediction], metrics: Sequence[str]) -> dict[str, float]:
    """Compute each metric: name -> value.

    One that is undefined for the references, or whose program or package is missing, is left out with a warning, so that it
    takes no other score with it.

    Raises:
        DataError: there are no answers, or all metrics are undefined for the references.
        ProgramError: the program of the only metric is missing or fails.
    """
    scores: dict[str, float] = {}
    failures: dict[str, UserError] = {}
    for name in metrics:
        try:
            scores[name] = score_of(predictions, name)
        except (DataError, ProgramError) as error:
            failures[name] = error
    if failures and not scores:
        raise next(iter(failures.values()))
    for name, failure in failures.items():
        _warn_once(name, str(failure))
    return scores


def score_of(predictions: Sequence[Prediction], name: str) -> float:
    """Compute one metric.

    Raises:
        DataError: there are no answers, or the metric is undefined for the references.
        ProgramError: the program of the metric is missing or fails.
    """
    if not predictions:
        raise DataError("a benchmark without answers has no score; is its cut-set empty?")
    try:
        row = find_metric(name)
        metric = row.build(sync_on_compute=False)  # one rank has all answers, and other ranks do not score
        metric.update(*metric_inputs(predictions, row))
        return float(metric.compute())
    except DataError as error:
        raise DataError(f"metric {name!r} of task {predictions[0].task!r}: {error}") from error


_warned: set[tuple[str, str]] = set()


def _warn_once(name: str, reason: str) -> None:
    """Log that a metric is not computed, once for each reason."""
    if (name, reason) not in _warned:
        log.warning("%s is not computed: %s", name, reason)
    _warned.add((name, reason))


def metric_inputs(
    predictions: Sequence[Prediction], row: MetricRow
) -> tuple[list[Any], list[Any], list[str]]:
    """Answers, references and languages, as a metric takes them.

    Raises:
        DataError: see ``references_of``.
    """
    languages = [prediction.language for prediction in predictions]
    return _answers(predictions, row), references_of(predictions, row), languages


def _answers(predictions: Sequence[Prediction], row: MetricRow) -> list[Any]:
    if not row.reads_logprobs:
        return [prediction.answer for prediction in predictions]
    from audio_lm.metrics.closed import ClosedScores  # imports torchmetrics

    return [
        ClosedScores(prediction.allowed, prediction.logprobs)
        if prediction.allowed and prediction.logprobs
        else prediction.answer
        for prediction in predictions
    ]


def references_of(predictions: Sequence[Prediction], row: MetricRow) -> list[Any]:
    """Reference of each answer in the form that a metric takes.

    Raises:
        DataError: an answer has several references, or no choices, against the metric.
    """
    if row.has_many_references:
        return [prediction.references for prediction in predictions]
    for prediction in predictions:
        if len(prediction.references) > 1:
            raise DataError(
                f"question {prediction.id!r} has {len(prediction.references)} references, and the metric accepts one; "
                f"choose metrics of captions, or keep one reference"
            )
    if row.needs_choices:
        return [_choice_reference(number, prediction) for number, prediction in enumerate(predictions)]
    return [prediction.references[0] for prediction in predictions]


def _choice_reference(number: int, prediction: Prediction) -> Any:
    from audio_lm.metrics.choices import ChoiceReference  # imports torchmetrics

    if not prediction.choices:
        raise DataError(
            f"question {prediction.id!r} has no choices, which the metric needs; choose another metric, or add the choices"
        )
    return ChoiceReference(prediction.references[0], prediction.choices, number)


def score_key(benchmark: str, metric: str, baseline: str = "") -> str:
    """Key of a score in ``scores.json`` and in the tracked metrics.

    Args:
        baseline: one of ``BASELINES``; empty for the trained model.

    >>> score_key("digits_asr", "wer"), score_key("digits_asr", "wer", "untrained")
    ('digits_asr/wer', 'untrained/digits_asr/wer')
    """
    return "/".join(filter(None, (baseline, benchmark, metric)))


def with_benchmark_keys(
    scores: Mapping[str, float], benchmarks: Mapping[str, BenchmarkConfig]
) -> dict[str, float]:
    """Scores under today's keys; keys of an earlier release are translated, those of no benchmark are kept.

    Args:
        benchmarks: those that were evaluated. In an earlier release no two of them had the same source, task and metric.
    """
    key_of = {
        score_key(_earlier_path(benchmark), metric, baseline): score_key(name, metric, baseline)
        for name, benchmark in reversed([*benchmarks.items()])
        for metric in benchmark.metrics
        for baseline in ("", UNTRAINED)
    }
    translated = {key_of[key]: value for key, value in scores.items() if key in key_of}
    return translated | {key: value for key, value in scores.items() if key not in key_of}


def _earlier_path(benchmark: BenchmarkConfig) -> str:
    """Path of the scores of a benchmark in an earlier release; empty if its source has no split."""
    try:
        corpus, subset, split = parse_source(benchmark.source)
    except RecipeError:
        return ""
    return f"{split}/{corpus}/{subset}/{benchmark.task}"


def write_scores(path: Path, scores: Mapping[str, float]) -> None:
    """Write scores, replacing the file atomically; a value that is not finite is written as null."""
    finite = {key: value if math.isfinite(value) else None for key, value in sorted(scores.items())}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(finite, indent=2) + "\n")  # without a checksum: other programs read it


def read_scores(path: Path) -> dict[str, float]:
    """Read saved scores; empty before the first evaluation. Null is read as infinity, old names of metrics as new ones.

    Raises:
        DataError: the file does not contain scores.
    """
    table = read_json(path)
    try:
        scores = {
            _current_path(key): math.inf if value is None else float(value)
            for key, value in table.values.items()
        }
    except (TypeError, ValueError) as error:
        table = JsonTable(fault=str(error))
    if table.fault:
        raise DataError(
            f"{path} contains no scores ({table.fault}); compute them again from saved answers with `audio-lm score`"
        )
    return scores


def _current_path(path: str) -> str:
    folder, slash, metric = path.rpartition("/")
    return folder + slash + current_name(metric)
