"""Score saved answers; paths are ``<split>/<corpus>/<subset>/<task>/<metric>``, with ``untrained/`` for that baseline."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.common.files import JsonTable, read_json, write_text
from audio_lm.common.source_name import parse_source
from audio_lm.evaluation.predict import Prediction
from audio_lm.metrics.registry import MetricRow, current_name, find_metric


def score_benchmark(predictions: Sequence[Prediction], metrics: Sequence[str]) -> dict[str, float]:
    """Compute each metric: name -> value.

    Raises:
        DataError: there are no answers, or a metric is undefined for the references.
    """
    if not predictions:
        raise DataError("a benchmark without answers has no score; is its cut-set empty?")
    answers = [prediction.answer for prediction in predictions]
    languages = [prediction.language for prediction in predictions]
    scores = {}
    for name in metrics:
        try:
            row = find_metric(name)
            metric = row.build(
                sync_on_compute=False
            )  # one rank has all answers, and other ranks do not score
            metric.update(answers, _references(predictions, row), languages)
            scores[name] = float(metric.compute())
        except DataError as error:
            raise DataError(f"metric {name!r} of task {predictions[0].task!r}: {error}") from error
    return scores


def _references(predictions: Sequence[Prediction], row: MetricRow) -> list[Any]:
    if row.has_many_references:
        return [prediction.references for prediction in predictions]
    for prediction in predictions:
        if len(prediction.references) > 1:
            raise DataError(
                f"question {prediction.id!r} has {len(prediction.references)} references, and the metric accepts one; "
                f"choose metrics of captions, or keep one reference"
            )
    return [prediction.references[0] for prediction in predictions]


def score_path(source: str, task: str) -> str:
    """Path of the scores of a source and a task.

    Raises:
        RecipeError: the source name is invalid.

    >>> score_path("synthetic/digits-test", "asr")
    'test/synthetic/digits/asr'
    """
    corpus, subset, split = parse_source(source)
    return f"{split}/{corpus}/{subset}/{task}"


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
