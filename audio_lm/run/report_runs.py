"""The report of one run or several: scores with intervals and controls, comparisons, what is missing, and a picture."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from audio_lm.common.errors import DataError, UserError
from audio_lm.common.files import write_bytes, write_text
from audio_lm.config.schema import Recipe
from audio_lm.evaluation.answer_log import partial_files
from audio_lm.evaluation.definitions import read_definitions
from audio_lm.evaluation.listening import listening_lines
from audio_lm.evaluation.predict import Prediction, predictions_path, read_predictions
from audio_lm.evaluation.radar import RadarLine, radar_figure, radar_lines
from audio_lm.evaluation.report import (
    NUM_TEXT_COLUMNS,
    Row,
    aligned,
    cells_of,
    metric_value,
    rows_as_records,
    short_number,
)
from audio_lm.evaluation.report_page import PICTURE, Page, Table, html_of, markdown_of
from audio_lm.evaluation.score import score_of
from audio_lm.evaluation.uncertainty import scored
from audio_lm.metrics.bootstrap import FEW_UNITS
from audio_lm.metrics.registry import find_metric
from audio_lm.run.console import run_console
from audio_lm.run.folder import RunFolder
from audio_lm.run.scores import (
    further_lines,
    kept_scores,
    open_results,
    print_details,
    print_scores,
    table_rows,
)
from audio_lm.tracking.attach import attach
from audio_lm.tracking.report.figures import figure_png

MARKDOWN, HTML, SCORES = "report.md", "report.html", "report.json"
SEVERAL = "comparison of runs (difference from the first, paired 95 % interval)"
NOISE = "noise"


@dataclass(frozen=True)
class RunReport:
    """Scores of a run."""

    name: str
    recipe: Recipe
    folder: RunFolder
    rows: list[Row]
    missing: list[str]
    further: list[str]

    def answers(self, benchmark: str) -> list[Prediction]:
        """Kept answers to a benchmark."""
        return _answers(self.folder, benchmark)


def report_runs(
    paths: Sequence[Path],
    console: Console | None = None,
    *,
    out: Path | None = None,
    details: bool = False,
    as_json: bool = False,
) -> None:
    """Print the report of runs; with ``out``, write it as files, and log them in the MLflow run of each.

    Args:
        out: folder of the files.
        details: confusion tables and the range over the speakers as well.
        as_json: print JSON, and messages to stderr.

    Raises:
        UserError: a folder holds no scores, or two runs have one name.
    """
    console = console or run_console()
    reports = [read_report(path) for path in paths]
    names = [report.name for report in reports]
    if len(set(names)) < len(names):
        raise UserError(f"two of the runs are the folder {max(names, key=names.count)}; name each once")
    compared = comparison(reports)
    if as_json:
        console.print(_json(reports, compared), end="", soft_wrap=True, markup=False, highlight=False)
        console = run_console(is_stderr=True)
    for report in reports if not as_json else ():
        if len(reports) > 1:
            console.print(report.name, style="bold", highlight=False)
        _print_report(report, console, details=details)
    if compared is not None and not as_json:
        lines = aligned(compared.cells, num_text_columns=compared.num_text_columns)
        _print_lines([compared.title, *lines], console)
    if out is not None:
        files = write_report(reports, compared, out)
        console.print(f"report: {out / MARKDOWN}, {out / HTML}", soft_wrap=True)
        for report in reports:
            attach(report.folder.path, console.print, what="the report", files=files, place="report")


def _print_report(report: RunReport, console: Console, *, details: bool) -> None:
    print_scores(report.rows, read_definitions(report.folder.predictions), console)
    lines = [*listening_lines(report.rows), *limits(report), *report.missing, *report.further]
    _print_lines(lines, console)
    if details:
        print_details(report.recipe, report.folder, console)


def _print_lines(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def read_report(path: Path) -> RunReport:
    """Scores of a run or of the evaluation of another model.

    Raises:
        UserError: the folder holds none.
    """
    recipe, folder = open_results(path)
    definitions = read_definitions(folder.predictions)
    scores = kept_scores(recipe, folder)
    rows = table_rows(recipe, scores, definitions, folder.predictions)
    if not rows:
        raise UserError(f"{path} has no scores yet; `audio-lm evaluate {path}` computes them")
    further = further_lines(recipe, path, scores)
    return RunReport(str(path), recipe, folder, rows, [*missing(recipe, folder, rows)], further)


def _answers(folder: RunFolder, benchmark: str) -> list[Prediction]:
    try:
        return read_predictions(predictions_path(folder.predictions, benchmark))
    except DataError:
        return []


def missing(recipe: Recipe, folder: RunFolder, rows: Sequence[Row]) -> Iterator[str]:
    """Lines about scores and controls that are missing, with the reason."""
    there = {(row.benchmark, row.metric): row for row in rows}
    for name, benchmark in recipe.evaluation.benchmarks.items():
        reason = _why_not_evaluated(recipe, folder, name)
        answers = _answers(folder, name)
        for metric in benchmark.metrics:
            row = there.get((name, metric))
            if row is None:
                yield f"missing: {name} {metric}, {_why_undefined(answers, metric) or reason}"
                continue
            if row.interval is None:
                yield f"missing: interval of {name} {metric}, no answers are kept or it is undefined for most draws"
            elif absent := [control for control in benchmark.controls if control not in row.shadows]:
                yield f"missing: {', '.join(absent)} of {name} {metric}, not evaluated or undefined without the audio"
            elif undefined := [each for each, shadow in row.shadows.items() if not shadow.has_interval]:
                controls = ", ".join(undefined)
                yield f"missing: interval of the difference to {controls} of {name} {metric}, undefined in some draws"
        for metric in sorted(set(recipe.published.get(name, {})) - set(benchmark.metrics)):
            yield f"missing: {name} {metric}, published but not among the metrics of the benchmark"


def _why_undefined(answers: Sequence[Prediction], metric: str) -> str:
    """Reason why answers have no score under a metric; empty if there are no answers or they have one."""
    if reason := find_metric(metric).why_missing():
        return reason
    try:
        if answers:
            score_of(answers, metric)
    except UserError as error:
        return str(error)
    return ""


def _why_not_evaluated(recipe: Recipe, folder: RunFolder, name: str) -> str:
    benchmark = recipe.evaluation.benchmarks[name]
    if benchmark.stage in recipe.stages and not folder.model(benchmark.stage).is_dir():
        return f"stage {benchmark.stage} has no weights"
    if partial_files(folder.predictions, name):
        return "its evaluation has not ended; repeat the command"
    return f"not evaluated; `audio-lm evaluate {folder.path} --benchmarks {name}`"


def limits(report: RunReport) -> Iterator[str]:
    """Lines about the differences that each benchmark detects, and about those of few speakers."""
    seen = set()
    for row in report.rows:
        if row.detectable is None or not math.isfinite(row.detectable) or row.benchmark in seen:
            continue
        seen.add(row.benchmark)
        number, _, kind = row.units.partition(" ")
        rough = f"; {number} {kind} are few, other ones may differ more" if int(number) < FEW_UNITS else ""
        yield (
            f"{row.benchmark}: {row.num_clips or number} clips detect differences of {_points(row)} or more "
            f"({find_metric(row.metric).title}, drawn by {kind}{rough})"
        )


def _points(row: Row) -> str:
    assert row.detectable is not None, "checked by the caller"
    unit = find_metric(row.metric).unit
    return f"{row.detectable:.1f} {unit}" if unit else f"{max(0.1, 100 * row.detectable):.1f} points"


def comparison(reports: Sequence[RunReport]) -> Table | None:
    """Scores of each run beside those of the first, with the paired interval of the difference; None for one run."""
    if len(reports) < 2:
        return None
    first, *others = reports
    heading = ["benchmark", "metric", "run", "verdict", "first", "score", "difference", "95 %", "clips"]
    cells = [heading]
    for row in first.rows:
        ours = scored(first.answers(row.benchmark), row.metric)
        for other in others:
            theirs = scored(other.answers(row.benchmark), row.metric)
            found = theirs.compare(ours) if ours and theirs else None
            if found is None:
                continue
            gain = found.interval.value if find_metric(row.metric).is_higher_better else -found.interval.value
            verdict = NOISE if found.is_noise else "better" if gain > 0 else "worse"
            span = f"{short_number(found.interval.low)} to {short_number(found.interval.high)}"
            values = [metric_value(value, row.metric) for value in (found.other, found.ours)]
            difference = short_number(found.interval.value)
            cells.append(
                [
                    row.benchmark,
                    row.metric,
                    other.name,
                    verdict,
                    *values,
                    difference,
                    span,
                    str(found.num_clips),
                ]
            )
    return Table(SEVERAL, cells, num_text_columns=4) if len(cells) > 1 else None


def write_report(reports: Sequence[RunReport], compared: Table | None, out: Path) -> list[Path]:
    """Write Markdown, HTML, JSON and, for three benchmarks or more, the radar picture; returns their paths."""
    several = len(reports) > 1
    title = " / ".join(Path(report.name).name for report in reports)
    lines = radar_lines(Path(reports[0].name).name, reports[0].rows)
    if lines and several:  # the published scores and controls of one run are enough
        lines = [lines[0], *(line for report in reports[1:] for line in _own_line(report)), *lines[1:]]
    figure = radar_figure(lines, title=title)
    picture = figure_png(figure) if figure is not None else None
    tables = [Table(report.name, cells_of(report.rows), NUM_TEXT_COLUMNS) for report in reports]
    page = Page(
        title,
        [*tables, *([compared] if compared else [])],
        {
            "What the audio adds": _lines(
                reports, [[*listening_lines(report.rows)] for report in reports], several=several
            ),
            "What the sets detect": _lines(
                reports, [[*limits(report)] for report in reports], several=several
            ),
            "What is missing": _lines(reports, [report.missing for report in reports], several=several),
            "Guard, judge and goodput": _lines(
                reports, [report.further for report in reports], several=several
            ),
        },
        picture,
    )
    out.mkdir(parents=True, exist_ok=True)
    files = {MARKDOWN: markdown_of(page), HTML: html_of(page), SCORES: _json(reports, compared)}
    for name, text in files.items():
        write_text(out / name, text)
    if picture is not None:
        write_bytes(out / PICTURE, picture)
    return [out / name for name in (*files, *([PICTURE] if picture is not None else []))]


def _own_line(report: RunReport) -> list[RadarLine]:
    return radar_lines(Path(report.name).name, report.rows)[:1]


def _lines(reports: Sequence[RunReport], lines_of: Sequence[Sequence[str]], *, several: bool) -> list[str]:
    return [
        f"{report.name}: {line}" if several else line
        for report, lines in zip(reports, lines_of, strict=True)
        for line in lines
    ]


def _json(reports: Sequence[RunReport], compared: Table | None) -> str:
    heading, *rows = compared.cells if compared else [[]]
    content = {
        "runs": {report.name: rows_as_records(report.rows) for report in reports},
        "missing": {report.name: report.missing for report in reports},
        "further": {report.name: report.further for report in reports},
        "comparison": [dict(zip(heading, row, strict=True)) for row in rows],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
