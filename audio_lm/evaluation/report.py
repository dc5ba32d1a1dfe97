"""The table of scores at the end of a run: benchmarks, scores of baselines and of the trained model.

Colored on a terminal; plain aligned text, without line wrapping, if the output goes to a file.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from audio_lm.evaluation.config import BASE, CONTROLS, MAJORITY, UNTRAINED
from audio_lm.metrics.registry import find_metric

INTERVAL = "95 %"
TITLE = "scores (arrow: which way is better)"
ARROWS = {True: "↑", False: "↓"}
ARROW_WORDS = {True: "(up)", False: "(down)"}  # if the encoding has no arrows
NUM_TEXT_COLUMNS = 4
"""Columns of text on the left; the others are numbers."""


@dataclass(frozen=True)
class Shadow:
    """Score of a control, and the paired 95 % interval of the difference."""

    score: float
    low: float
    high: float

    @property
    def is_noise(self) -> bool:
        """True if the score may be the same without listening."""
        return self.low <= 0 <= self.high

    @property
    def has_interval(self) -> bool:
        """False if the difference is infinite in some of the draws."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class Row:
    """One row of the table: a score with its baseline and published score."""

    stage: str
    benchmark: str
    task: str
    metric: str
    ours: float
    untrained: float | None = None
    expected: float | None = None
    """Published or expected score, from the recipe."""

    majority: float | None = None
    """Score of the majority answer."""

    num_clips: int | None = None
    """Clips that were answered."""

    base: float | None = None
    """Score of the model that the stage started from."""

    interval: tuple[float, float] | None = None
    """95 % bootstrap interval of our score."""

    detectable: float | None = None
    """Smallest difference from another system that this number of clips detects."""

    units: str = ""
    """Number and kind of the units that were resampled, such as ``40 speakers``."""

    shadows: Mapping[str, Shadow] = field(default_factory=dict)
    """Control -> its score."""

    speed: float | None = None
    """Seconds of audio answered per second."""


def print_table(rows: Sequence[Row], console: Console) -> None:
    """Print the table, without empty columns."""
    if not console.is_terminal:
        text = plain_table(rows, encoding=console.encoding)
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        return
    columns = _columns(rows, _arrows(console.encoding))
    table = Table(title=TITLE)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number >= NUM_TEXT_COLUMNS else "left")
    for row in rows:
        cells = [
            Text(cell_of(row), style=_color(row) if name == "ours" else "")
            for name, cell_of in columns.items()
        ]
        table.add_row(*cells)
    console.print(table)


def plain_table(rows: Sequence[Row], *, encoding: str = "utf-8") -> str:
    """Format the table as aligned lines without colors.

    Args:
        encoding: encoding of the output; if it has no arrows, words are used instead.
    """
    cells = cells_of(rows, encoding=encoding)
    return "\n".join([TITLE, *aligned(cells, num_text_columns=NUM_TEXT_COLUMNS)])


def aligned(cells: Sequence[Sequence[str]], *, num_text_columns: int) -> list[str]:
    """Lines of a table with padded columns.

    Args:
        num_text_columns: columns on the left that start at the left; the others are numbers.
    """
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for line in cells:
        blanks = [" " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)]
        padded = [
            blank + cell if number >= num_text_columns else cell + blank
            for number, (cell, blank) in enumerate(zip(line, blanks, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def cells_of(rows: Sequence[Row], *, encoding: str = "utf-8") -> list[list[str]]:
    """Cells of the table, its heading first, without empty columns."""
    columns = _columns(rows, _arrows(encoding))
    return [[*columns], *([cell_of(row) for cell_of in columns.values()] for row in rows)]


def rows_as_records(rows: Sequence[Row]) -> list[Mapping[str, object]]:
    """The table as records for JSON; a value that is not finite becomes None, because JSON cannot represent it."""
    return [with_finite_numbers(asdict(row)) for row in rows]


def with_finite_numbers(value: Any) -> Any:
    """Value for JSON, with None for numbers that are not finite, and lists for tuples."""
    if isinstance(value, dict):
        return {name: with_finite_numbers(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [with_finite_numbers(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _columns(rows: Sequence[Row], arrows: Mapping[bool, str]) -> dict[str, Callable[[Row], str]]:
    """Heading -> function that formats the cell of a row; empty columns are omitted."""
    columns: dict[str, Callable[[Row], str]] = {
        "stage": lambda row: row.stage,
        "benchmark": lambda row: row.benchmark,
        "task": lambda row: row.task,
        "metric": lambda row: _metric(row.metric, arrows),
    }
    if any(row.num_clips is not None for row in rows):
        columns["clips"] = lambda row: "" if row.num_clips is None else str(row.num_clips)
    for baseline in (UNTRAINED, BASE, MAJORITY):
        if any(getattr(row, baseline) is not None for row in rows):
            columns[baseline] = partial(_baseline, baseline=baseline)
    columns["ours"] = lambda row: metric_value(row.ours, row.metric)
    if any(row.interval is not None for row in rows):
        columns[INTERVAL] = lambda row: interval_text(row.interval)
    for control in CONTROLS:
        if any(control in row.shadows for row in rows):
            columns[f"{control} [difference]"] = partial(_shadow, control=control)
    if any(row.expected is not None for row in rows):
        columns["published"] = lambda row: metric_value(row.expected, row.metric)
    return columns


def _baseline(row: Row, *, baseline: str) -> str:
    return metric_value(getattr(row, baseline), row.metric)


def interval_text(interval: tuple[float, float] | None) -> str:
    """Ends of an interval; empty if there is none, or an end is not finite."""
    if interval is None or not all(map(math.isfinite, interval)):
        return ""
    low, high = map(short_number, interval)
    return f"{low} to {high}"


def _shadow(row: Row, *, control: str) -> str:
    shadow = row.shadows.get(control)
    if shadow is None:
        return ""
    span = interval_text((shadow.low, shadow.high))
    return metric_value(shadow.score, row.metric) + (f" [{span}]" if span else "")


def short_number(value: float) -> str:
    """Number with three decimals, or one above 10.

    >>> short_number(0.05312), short_number(66.52)
    ('0.053', '66.5')
    """
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _arrows(encoding: str) -> Mapping[bool, str]:
    try:
        "".join(ARROWS.values()).encode(encoding)
    except UnicodeEncodeError:
        return ARROW_WORDS
    return ARROWS


def _metric(name: str, arrows: Mapping[bool, str]) -> str:
    metric = find_metric(name)
    return f"{metric.title} {arrows[metric.is_higher_better]}"


def metric_value(value: float | None, name: str) -> str:
    """Value of a metric with its unit; empty for None."""
    if value is None:
        return ""
    unit = find_metric(name).unit
    if not math.isfinite(value):
        return "none matched"
    return f"{value:.1f} {unit}" if unit else f"{value:.3f}"


def _color(row: Row) -> str:
    """Red: no better than a baseline. Yellow: better, but below the published score. Green: otherwise."""
    baselines = [value for value in (row.untrained, row.base, row.majority) if value is not None]
    if not baselines and row.expected is None:
        return "default"
    is_higher_better = find_metric(row.metric).is_higher_better

    def reaches(value: float) -> bool:
        return row.ours >= value if is_higher_better else row.ours <= value

    if any(row.ours == value or not reaches(value) for value in baselines):
        return "red"
    return "green" if row.expected is None or reaches(row.expected) else "yellow"
