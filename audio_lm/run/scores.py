"""Scores and answers that an evaluation has kept, in a run's folder or in one of its own: table, details, scoring again."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from audio_lm.common.errors import DataError, ProgramError, UserError
from audio_lm.common.files import report_unreadable
from audio_lm.common.progress import progress
from audio_lm.config.schema import Recipe
from audio_lm.evaluation.breakdown import Breakdown, breakdown_of, write_breakdown
from audio_lm.evaluation.config import BASE, MAJORITY, UNTRAINED, BenchmarkConfig
from audio_lm.evaluation.definitions import Definition, read_definitions
from audio_lm.evaluation.guard_table import guard_prefix, guard_table
from audio_lm.evaluation.judge.verdicts import FOLDER, judge_lines, judge_scores, read_judgements
from audio_lm.evaluation.majority import with_answer
from audio_lm.evaluation.predict import Prediction, predictions_path, read_predictions
from audio_lm.evaluation.report import Row, Shadow, print_table
from audio_lm.evaluation.score import (
    read_scores,
    score_benchmark,
    score_key,
    with_benchmark_keys,
    write_scores,
)
from audio_lm.evaluation.uncertainty import scored, units_of
from audio_lm.metrics.registry import JUDGE_SCORE, find_metric
from audio_lm.model.config import ModelConfig
from audio_lm.run.console import run_console
from audio_lm.run.folder import RunFolder
from audio_lm.run.goodput import goodput_lines
from audio_lm.run.open import open_run

MIN_ANSWERS = 2_000  # fewer are scored in a second or two, and show no progress


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
    recipe: Recipe,
    scores: Mapping[str, float],
    definitions: Mapping[str, Definition] | None = None,
    answers: Path | None = None,
) -> list[Row]:
    """Rows of the table of scores.

    Args:
        definitions: of the evaluated benchmarks, with their numbers of clips.
        answers: folder of the predictions, for intervals and differences to controls; None leaves them out.
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
                        base=scores.get(score_key(name, metric, BASE)),
                        num_clips=definition.num_clips if definition else None,
                        speed=definition.speed if definition else None,
                    )
                )
    return rows if answers is None else [*_with_intervals(rows, recipe, answers)]


def _with_intervals(rows: Sequence[Row], recipe: Recipe, answers: Path) -> Iterator[Row]:
    kept = {
        name: _kept_answers(answers, name, recipe.evaluation.benchmarks[name])
        for name in dict.fromkeys(row.benchmark for row in rows)
    }
    judged = read_judgements(answers.parent / FOLDER)
    num_answers = {name: sum(map(len, found.values())) for name, found in kept.items()}
    total = sum(num_answers[row.benchmark] for row in rows)
    with progress("intervals", total=total, what="answers", min_total=MIN_ANSWERS) as advance:
        for row in rows:
            if row.metric == JUDGE_SCORE:
                scores = judged[row.benchmark].groups["all"] if row.benchmark in judged else None
                yield replace(row, interval=(scores.low, scores.high) if scores else None)
            else:
                yield _with_interval(row, kept[row.benchmark])
            advance(num_answers[row.benchmark])


def _with_interval(row: Row, kept: Mapping[str, list[Prediction]]) -> Row:
    """Row with the interval of its score and the differences to controls, where they are defined.

    Args:
        kept: answers of each control; under the empty name, those to the questions themselves.
    """
    of_metric = {control: scored(found, row.metric) for control, found in kept.items()}
    ours = of_metric.pop("", None)
    interval = ours.interval() if ours else None
    if ours is None or interval is None:
        return row
    differences = {control: ours.compare(other) for control, other in of_metric.items() if other}
    return replace(
        row,
        interval=(interval.low, interval.high),
        detectable=interval.detectable if interval.deviation else None,
        units=f"{interval.num_units} {units_of(ours.predictions).kind}",
        shadows={
            control: Shadow(found.other, found.interval.low, found.interval.high)
            for control, found in differences.items()
            if found is not None
        },
    )


def _kept_answers(folder: Path, name: str, benchmark: BenchmarkConfig) -> dict[str, list[Prediction]]:
    """Control, or empty for the questions themselves -> answers that are kept and readable."""
    found = {}
    for control in ("", *benchmark.controls):
        with suppress(DataError):
            found[control] = read_predictions(predictions_path(folder / control, name))
    return found


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


def print_guard(recipe: Recipe, scores: Mapping[str, float], console: Console) -> None:
    """Print what later stages have forgotten, where the recipe guards something."""
    for line in guard_lines(recipe, scores):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def guard_lines(recipe: Recipe, scores: Mapping[str, float]) -> list[str]:
    """Lines about what later stages have forgotten; empty where the recipe guards nothing."""
    if recipe.guard is None:
        return []
    return [*guard_table(recipe.guard, recipe.evaluation.benchmarks, [*recipe.stages], scores)]


def further_lines(recipe: Recipe, path: Path, scores: Mapping[str, float]) -> list[str]:
    """Lines below the table of a run: guard, scores of judges, goodput."""
    return [*guard_lines(recipe, scores), *judge_lines(path), *goodput_lines(path)]


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
    files = [predictions_path(folder.predictions, name) for name in _answered(recipe, folder)]
    total = sum(map(_num_lines, files))
    with progress("speakers and labels", total=total, what="answers", min_total=MIN_ANSWERS) as advance:
        for parts, benchmark in _breakdowns(recipe, folder):
            write_breakdown(folder.predictions, parts, metrics=benchmark.metrics)
            advance(parts.num_clips)
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
    rows = table_rows(recipe, scores, definitions, folder.predictions)
    if not rows:
        raise UserError(f"{path} has no scores yet; `audio-lm evaluate {path}` computes them")
    print_scores(rows, definitions, console)
    for line in further_lines(recipe, path, scores):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if details:
        print_details(recipe, folder, console)


def print_details(recipe: Recipe, folder: RunFolder, console: Console) -> None:
    """Print the confusion table of each benchmark of labels, and the range over its speakers."""
    for parts, _ in _breakdowns(recipe, folder):
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
    kept = [*_kept_files(recipe, folder)]
    total = sum(_num_lines(path) for _, _, path in kept)
    with progress("scoring", total=total, what="answers", min_total=MIN_ANSWERS) as advance:
        for name, baseline, path in kept:
            benchmark = recipe.evaluation.benchmarks[name]
            try:
                predictions = _some_predictions(path, name)
                scores |= scores_of(name, benchmark, predictions, baseline)
                definition = definitions.get(name)
                if not baseline:
                    scores |= _scores_of_controls(name, benchmark, folder)
                if not baseline and definition is not None and definition.majority is not None:
                    scores |= majority_scores(name, benchmark, predictions, definition.majority.answer)
                advance(len(predictions))
            except DataError as error:
                if not is_tolerant:
                    raise
                report_unreadable(path, str(error))
    return scores


def _kept_files(recipe: Recipe, folder: RunFolder) -> Iterator[tuple[str, str, Path]]:
    """Benchmark, baseline (or empty) and file of all answers that are kept, without those of controls."""
    for name in recipe.evaluation.benchmarks:
        for baseline in ("", UNTRAINED, BASE, *map(guard_prefix, (BASE, *recipe.stages))):
            path = predictions_path(folder.predictions / baseline, name)
            if path.is_file():
                yield name, baseline, path


def _num_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _some_predictions(path: Path, name: str) -> list[Prediction]:
    predictions = read_predictions(path)
    if not predictions:
        raise DataError(f"{path} holds no predictions; evaluate {name} again")
    return predictions


def _scores_of_controls(name: str, benchmark: BenchmarkConfig, folder: RunFolder) -> dict[str, float]:
    scores: dict[str, float] = {}
    for control in benchmark.controls:
        path = predictions_path(folder.predictions / control, name)
        if path.is_file():
            scores |= control_scores(name, benchmark, read_predictions(path), control)
    return scores


def scores_of(
    name: str, benchmark: BenchmarkConfig, predictions: list[Prediction], baseline: str = ""
) -> dict[str, float]:
    """Scores of the answers to a benchmark, by key."""
    values = score_benchmark(predictions, benchmark.metrics)
    return {score_key(name, metric, baseline): value for metric, value in values.items()}


def control_scores(
    name: str, benchmark: BenchmarkConfig, predictions: list[Prediction], control: str
) -> dict[str, float]:
    """Scores of the answers to a control, without metrics that are undefined for its clips."""
    scores: dict[str, float] = {}
    for metric in benchmark.metrics:
        with suppress(DataError, ProgramError):
            scores |= scores_of(name, replace(benchmark, metrics=[metric]), predictions, control)
    return scores


def majority_scores(
    name: str, benchmark: BenchmarkConfig, predictions: Iterable[Prediction], answer: str
) -> dict[str, float]:
    """Scores of a benchmark if every answer were the majority answer, which has no probabilities."""
    metrics = [metric for metric in benchmark.metrics if not find_metric(metric).reads_logprobs]
    answers = with_answer([*predictions], answer)
    return scores_of(name, replace(benchmark, metrics=metrics), answers, MAJORITY)
