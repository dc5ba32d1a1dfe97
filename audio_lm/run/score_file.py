"""Print the scores of a file of predictions by any system."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from audio_lm.common.errors import RecipeError
from audio_lm.common.languages import UNKNOWN_LANGUAGE, find_language
from audio_lm.evaluation.prediction_files.differences import NumberOfFile
from audio_lm.evaluation.prediction_files.format import ReadOptions
from audio_lm.evaluation.prediction_files.score_file import FileScore, score_file
from audio_lm.evaluation.report import ARROW_WORDS, ARROWS, INTERVAL, aligned, interval_text, metric_value
from audio_lm.metrics.registry import find_metric
from audio_lm.run.console import run_console

NUM_TEXT_COLUMNS = 3


def print_score(
    path: Path,
    *,
    metrics: Sequence[str] = (),
    language: str | None = None,
    as_json: bool = False,
    console: Console | None = None,
) -> None:
    """Score a file of predictions and print its numbers, each with its denominator.

    Raises:
        UserError: the file cannot be scored, or the language is unknown.
    """
    console = console or run_console()
    code = UNKNOWN_LANGUAGE if language is None else find_language(language)
    if code is None:
        raise RecipeError(
            f"--language {language!r} -- expected a code or name, such as en or Chinese -- correct it"
        )
    score = score_file(ReadOptions(path, tuple(metrics), code))
    lines = (
        [json.dumps(as_record(score), ensure_ascii=False)] if as_json else lines_of(score, console.encoding)
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def as_record(score: FileScore) -> dict[str, object]:
    """Scores for JSON; a value that is not finite becomes None."""
    record = asdict(score)
    for benchmark in record["benchmarks"]:
        for number in benchmark["numbers"]:
            number["value"] = number["value"] if math.isfinite(number["value"]) else None
            ends = number["interval"]
            number["interval"] = ends if ends and all(map(math.isfinite, ends)) else None
    return record


def lines_of(score: FileScore, encoding: str) -> Iterator[str]:
    """Table of the numbers, and the notes of each benchmark."""
    yield f"{score.path}: {score.title}"
    cells = [["benchmark", "number", "kind", "rows", "value", INTERVAL]]
    for benchmark in score.benchmarks:
        for number in benchmark.numbers:
            kind = "recorded" if number.is_recorded else "official" if number.is_official else "clean"
            cells.append(
                [
                    benchmark.benchmark,
                    _title(number, encoding),
                    kind,
                    str(number.num_rows),
                    _value(number),
                    interval_text(number.interval),
                ]
            )
    yield from aligned(cells, num_text_columns=NUM_TEXT_COLUMNS)
    for benchmark in score.benchmarks:
        yield from (f"{benchmark.benchmark}: {note}" for note in benchmark.notes)


def _title(number: NumberOfFile, encoding: str) -> str:
    if number.is_recorded:
        return number.name
    metric = find_metric(number.name)
    arrows = ARROWS if "utf" in encoding.lower() else ARROW_WORDS
    return f"{metric.title} {arrows[metric.is_higher_better]}"


def _value(number: NumberOfFile) -> str:
    return f"{number.value:.3f}" if number.is_recorded else metric_value(number.value, number.name)
