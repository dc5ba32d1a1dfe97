"""Official and clean scores of a file of predictions, with the rows that each is computed over.

The official number follows the publisher's code with its treatment of missing predictions. The clean number is over all rows
with a reference; an empty answer stays in its denominator.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audio_lm.common.errors import DataError, UserError
from audio_lm.common.languages import UNKNOWN_LANGUAGE
from audio_lm.common.progress import progress
from audio_lm.common.protocols import Advance
from audio_lm.evaluation.prediction_files.differences import NumberOfFile, difference, predictions_of
from audio_lm.evaluation.prediction_files.format import ReadOptions
from audio_lm.evaluation.prediction_files.recognize import read_file
from audio_lm.evaluation.prediction_files.rows import FileBenchmark, FileRow, check_unique
from audio_lm.evaluation.score import metric_inputs
from audio_lm.evaluation.uncertainty import units_of
from audio_lm.metrics.bootstrap import Answers, ClipResults, interval_of
from audio_lm.metrics.registry import find_metric

MIN_ANSWERS = 2_000  # fewer are scored in a second or two, and show no progress


@dataclass(frozen=True)
class BenchmarkScore:
    """Scores of the rows of one benchmark."""

    benchmark: str
    num_rows: int
    numbers: list[NumberOfFile]
    notes: list[str] = field(default_factory=list)
    """Denominators, rows that were left out, differences, numbers that are missing and why."""


@dataclass(frozen=True)
class FileScore:
    """Scores of a file."""

    path: str
    format_name: str
    title: str
    benchmarks: list[BenchmarkScore]


def score_file(options: ReadOptions) -> FileScore:
    """Recognize a file of predictions by its content, and score it.

    Raises:
        UserError: the file cannot be scored honestly; names the row.
    """
    for metric in options.metrics:
        find_metric(metric)
    file_format, benchmarks = read_file(options)
    total = sum(map(_num_results, benchmarks))
    with progress("scoring", total=total, what="answers", min_total=MIN_ANSWERS) as advance:
        scores = [_score(benchmark, options.path, advance) for benchmark in benchmarks]
    if not any(score.numbers for score in scores):
        raise UserError(f"{options.path}: {scores[0].notes[-1]}")
    return FileScore(str(options.path), file_format.name, file_format.title, scores)


def _num_results(benchmark: FileBenchmark) -> int:
    """Answers to score: each is scored by every metric."""
    num_rows = sum(bool(row.references) for row in benchmark.rows)
    return num_rows * (len(benchmark.official) + len(benchmark.clean))


def _score(benchmark: FileBenchmark, path: Path, advance: Advance) -> BenchmarkScore:
    check_unique(benchmark.rows)
    rows = [row for row in benchmark.rows if row.references]
    if not rows:
        raise DataError(
            f"{path}: no row of {benchmark.name!r} has a reference answer -- expected them in the file -- a publisher who "
            f"withholds them scores the file itself"
        )
    answered = [row for row in rows if row.answer is not None]
    if not answered:
        raise DataError(
            f"{path}: no row of {benchmark.name!r} has a prediction ({benchmark.prediction_key!r}) -- run the model on it"
        )
    numbers, notes = [], [_denominators(benchmark, rows, answered)]
    for official in benchmark.official:
        kept = answered if official.leaves_out_missing else rows
        numbers += list(_numbers(benchmark.name, kept, official.metric, notes, advance, is_official=True))
    recorded = [row.recorded for row in rows if row.recorded is not None]
    if benchmark.recorded_name and recorded:
        mean = sum(recorded) / len(recorded)
        numbers.append(NumberOfFile(benchmark.recorded_name, mean, len(recorded), True, is_recorded=True))
    sound = _with_possible_reference(rows, notes)
    for metric in benchmark.clean:
        numbers += list(_numbers(benchmark.name, sound, metric, notes, advance, is_official=False))
    if line := difference(benchmark, sound, numbers):
        notes.append(line)
    notes += [f"{name} is not computed: {reason}" for name, reason in benchmark.not_computed.items()]
    return BenchmarkScore(benchmark.name, len(benchmark.rows), numbers, notes)


def _with_possible_reference(rows: Sequence[FileRow], notes: list[str]) -> Sequence[FileRow]:
    """Rows whose reference is one of their choices; a note about the others, which no answer can satisfy.

    Raises:
        DataError: there are only others.
    """
    from audio_lm.metrics.choices import ChoiceReference

    wrong = [
        row for row in rows if row.choices and ChoiceReference(row.references[0], row.choices).correct is None
    ]
    if not wrong:
        return rows
    shown = f"{wrong[0].place}: {wrong[0].references[0]!r} -- expected one of {list(wrong[0].choices)}"
    if len(wrong) == len(rows):
        raise DataError(f"{shown} -- repair the references, none of which is among its choices")
    notes.append(
        f"{len(wrong)} rows whose reference is none of their choices are left out of the clean number ({shown})"
    )
    excluded = {row.id for row in wrong}
    return [row for row in rows if row.id not in excluded]


def _numbers(
    name: str, rows: Sequence[FileRow], metric: str, notes: list[str], advance: Advance, *, is_official: bool
) -> Iterator[NumberOfFile]:
    """The number of a metric; none, and a note with the reason, if it cannot be computed here."""
    try:
        if metric.startswith("wer_qwen2") and any(row.language == UNKNOWN_LANGUAGE for row in rows):
            raise UserError("the file does not name the language; add it, such as --language en")
        predictions = predictions_of(name, rows)
        row = find_metric(metric)
        results = ClipResults(row, Answers(*metric_inputs(predictions, row)), advance)
        units = units_of(predictions)
        value, interval = results.value(), interval_of(results, units.of_clip)
    except UserError as error:
        notes.append(f"{metric} is not computed: {error}")
        return
    yield NumberOfFile(
        metric,
        value,
        _denominator(metric, rows),
        is_official,
        interval=None if interval is None else (interval.low, interval.high),
        units="" if interval is None else f"{interval.num_units} {units.kind}",
    )


def _denominator(metric: str, rows: Sequence[FileRow]) -> int:
    """Number of rows that count, which some scripts reduce further."""
    if metric != "acc_airbench":
        return len(rows)
    from audio_lm.metrics.choices import airbench_letter

    return sum(airbench_letter(row.answer or "") is not None for row in rows)


def _denominators(benchmark: FileBenchmark, rows: Sequence[FileRow], answered: Sequence[FileRow]) -> str:
    """Line about the denominators."""
    parts = [f"{len(rows)} of {len(benchmark.rows)} rows are scored"]
    if without := len(benchmark.rows) - len(rows):
        parts.append(f"{without} without a reference are not")
    if missing := len(rows) - len(answered):
        leaves_out = bool(benchmark.recorded_name and not benchmark.official) or any(
            official.leaves_out_missing for official in benchmark.official
        )
        official = "left out of the official number, " if leaves_out else ""
        parts.append(f"{missing} without {benchmark.prediction_key}: {official}wrong in the clean one")
    empty = sum(not row.answer.strip() for row in answered if row.answer is not None)
    if empty:
        parts.append(f"{empty} answers are empty and count as wrong")
    return ", ".join(parts)
