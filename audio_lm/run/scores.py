"""Scores and answers that an evaluation has kept, in a run's folder or in one of its own: table, details, scoring again."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from audio_lm.common.errors import DataError, UserError
from audio_lm.common.files import report_unreadable
from audio_lm.config.schema import Recipe
from audio_lm.evaluation.breakdown import Breakdown, breakdown_of, write_breakdown
from audio_lm.evaluation.config import MAJORITY, UNTRAINED, BenchmarkConfig
from audio_lm.evaluation.definitions import Definition, read_definitions
from audio_lm.evaluation.judge.verdicts import judge_lines, judge_scores
from audio_lm.evaluation.majority import with_answer
from audio_lm.evaluation.predict import Prediction, predictions_path, read_predictions
from audio_lm.evaluation.report import Row, print_table
from audio_lm.evaluation.score import (
    read_scores,
    score_benchmark,
    score_key,
    with_benchmark_keys,
    write_scores,
)
from audio_lm.model.config import ModelConfig
from audio_lm.run.console import run_console
from audio_lm.run.folder import RunFolder
from audio_lm.run.goodput import goodput_lines
from audio_lm.run.open import open_run


def open_results(path: Path) -> tuple[Recipe, RunFolder]:
    """Open a run, or the folder of an evaluation of a model without a recipe, with its benchmarks as they were evaluated.

    Raises:
        UserError: the folder holds neither.
    """
    folder = RunFolder(path)
    if not folder.recipe.is_file() and read_definitions(folder.predictions):
        recipe = Recipe(name=path.name, stages={}, model=ModelConfig())
    else:
        recipe, folder = open_run(path, trusts_code=True)  # no model is loaded
    return with_kept_benchmarks(recipe, folder), folder


def with_kept_benchmarks(recipe: Recipe, folder: RunFolder) -> Recipe:
    """Recipe of a run with its benchmarks as they were evaluated, including those that a later evaluation added."""
    kept = read_definitions(folder.predictions)
    benchmarks = recipe.evaluation.benchmarks | {name: entry.benchmark for name, entry in kept.items()}
    published = {name: dict(entry.published) for name, entry in kept.items() if entry.published}
    tasks = {entry.benchmark.task: entry.own_task for entry in kept.values() if entry.own_task is not None}
    return replace(
        recipe,
        tasks=tasks | recipe.tasks,
        evaluation=replace(recipe.evaluation, benchmarks=benchmarks),
        published=published | recipe.published,
    )


def table_rows(
    recipe: Recipe, scores: Mapping[str, float], definitions: Mapping[str, Definition] | None = None
) -> list[Row]:
    """Rows of the table of scores.

    Args:
        definitions: of the evaluated benchmarks, with their numbers of clips.
    """
    rows = []
    for name, benchmark in recipe.evaluation.benchmarks.items():
        definition = (definitions or {}).get(name)
        for metric in benchmark.metrics:
            if score_key(name, metric) in scores:
                rows.append(
                    Row(
                        stage=benchmark.stage,
                        benchmark=name,
                        task=benchmark.task,
                        metric=metric,
                        ours=scores[score_key(name, metric)],
                        untrained=scores.get(score_key(name, metric, UNTRAINED)),
                        expected=recipe.published.get(name, {}).get(metric),
                        majority=scores.get(score_key(name, metric, MAJORITY)),
                        num_clips=definition.num_clips if definition else None,
                    )
                )
    return rows


def print_scores(rows: list[Row], definitions: Mapping[str, Definition], console: Console) -> None:
    """Print the table, and a line about each majority answer."""
    print_table(rows, console)
    shown = {row.benchmark for row in rows if row.majority is not None}
    for name, definition in definitions.items():
        if name in shown and (most := definition.majority):
            console.print(
                f"majority of {name}: {' '.join(most.answer.split())!r}, {most.count} of {most.total} in the {most.origin}",
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip


def kept_scores(recipe: Recipe, folder: RunFolder) -> dict[str, float]:
    """Scores in a folder, under today's keys; computed again from the answers if the file is unreadable."""
    try:
        scores = read_scores(folder.scores)
    except DataError as error:
        report_unreadable(folder.scores, f"{error}; answers that are readable are scored again")
        return _scores_of_answers(recipe, folder, is_tolerant=True)
    return with_benchmark_keys(scores, _answered(recipe, folder))


def rescore(path: Path, console: Console | None = None, *, details: bool = False) -> None:
    """Score the kept answers again, including those of baselines, and write the files of their parts again."""
    recipe, folder = open_results(path)
    write_scores(folder.scores, _scores_of_answers(recipe, folder) | judge_scores(folder.path))
    for parts, benchmark in _breakdowns(recipe, folder):
        write_breakdown(folder.predictions, parts, metrics=benchmark.metrics)
    report(path, console, details=details)


def report(path: Path, console: Console | None = None, *, details: bool = False) -> None:
    """Print the table of a run or of an evaluation.

    Args:
        details: confusion tables and the range over the speakers as well.
    """
    console = console or run_console()
    recipe, folder = open_results(path)
    scores = with_benchmark_keys(read_scores(folder.scores), _answered(recipe, folder))
    definitions = read_definitions(folder.predictions)
    rows = table_rows(recipe, scores, definitions)
    if not rows:
        raise UserError(f"{path} has no scores yet; `audio-lm evaluate {path}` computes them")
    print_scores(rows, definitions, console)
    for line in (*judge_lines(path), *goodput_lines(path)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for parts, _ in _breakdowns(recipe, folder) if details else ():
        print_breakdown(parts, console)


def print_breakdown(parts: Breakdown, console: Console) -> None:
    """Print the parts of a benchmark's result."""
    for line in parts.lines():
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _breakdowns(recipe: Recipe, folder: RunFolder) -> Iterator[tuple[Breakdown, BenchmarkConfig]]:
    for name, benchmark in _answered(recipe, folder).items():
        predictions = read_predictions(predictions_path(folder.predictions, name))
        yield breakdown_of(name, predictions, benchmark.metrics), benchmark


def _answered(recipe: Recipe, folder: RunFolder) -> dict[str, BenchmarkConfig]:
    """Benchmarks with a file of answers."""
    return {
        name: benchmark
        for name, benchmark in recipe.evaluation.benchmarks.items()
        if predictions_path(folder.predictions, name).is_file()
    }


def _scores_of_answers(recipe: Recipe, folder: RunFolder, *, is_tolerant: bool = False) -> dict[str, float]:
    """Scores of all answers that are kept.

    Args:
        is_tolerant: leave out answers that cannot be scored.

    Raises:
        DataError: answers cannot be scored; names their file.
    """
    scores: dict[str, float] = {}
    definitions = read_definitions(folder.predictions)
    for name, benchmark in recipe.evaluation.benchmarks.items():
        for baseline in ("", UNTRAINED):
            kept = predictions_path(folder.predictions / baseline, name)
            if not kept.is_file():
                continue
            try:
                predictions = read_predictions(kept)
                scores |= scores_of(name, benchmark, predictions, baseline)
                definition = definitions.get(name)
                if not baseline and definition is not None and definition.majority is not None:
                    scores |= majority_scores(name, benchmark, predictions, definition.majority.answer)
            except DataError as error:
                if not is_tolerant:
                    raise
                report_unreadable(kept, str(error))
    return scores


def scores_of(
    name: str, benchmark: BenchmarkConfig, predictions: list[Prediction], baseline: str = ""
) -> dict[str, float]:
    """Scores of the answers to a benchmark, by key."""
    values = score_benchmark(predictions, benchmark.metrics)
    return {score_key(name, metric, baseline): value for metric, value in values.items()}


def majority_scores(
    name: str, benchmark: BenchmarkConfig, predictions: Iterable[Prediction], answer: str
) -> dict[str, float]:
    """Scores of a benchmark if every answer were the majority answer."""
    return scores_of(name, benchmark, with_answer([*predictions], answer), MAJORITY)
