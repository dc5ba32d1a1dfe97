"""The table at the end of a run: what was asked, what an untrained model scores, what ours does."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from audio_lm.metrics.registry import find_metric


@dataclass(frozen=True)
class Row:
    """One number of the table."""

    stage: str
    benchmark: str
    task: str
    metric: str
    ours: float
    untrained: float | None = None
    expected: float | None = None
    """Published, or what the recipe promises."""


def print_table(rows: Sequence[Row], console: Console) -> None:
    """Print the rows; columns nobody filled are left out."""
    table = Table(title="scores (arrow: which way is better)")
    for name in ("stage", "benchmark", "task", "metric"):
        table.add_column(name)
    has_untrained = any(row.untrained is not None for row in rows)
    has_expected = any(row.expected is not None for row in rows)
    for name in ["untrained"] * has_untrained + ["ours"] + ["published"] * has_expected:
        table.add_column(name, justify="right")
    for row in rows:
        cells = [row.stage, row.benchmark, row.task, _metric(row.metric)]
        cells += [_value(row.untrained, row.metric)] if has_untrained else []
        cells += [f"[{_colour(row)}]{_value(row.ours, row.metric)}[/]"]
        cells += [_value(row.expected, row.metric)] if has_expected else []
        table.add_row(*cells)
    console.print(table)


def rows_as_records(rows: Sequence[Row]) -> list[Mapping[str, object]]:
    """The table for other programs."""
    return [vars(row) for row in rows]


def _metric(name: str) -> str:
    metric = find_metric(name)
    return f"{metric.title} {'↑' if metric.is_higher_better else '↓'}"


def _value(value: float | None, name: str) -> str:
    if value is None:
        return ""
    unit = find_metric(name).unit
    if not math.isfinite(value):
        return "none matched"
    return f"{value:.1f} {unit}" if unit else f"{value:.3f}"


def _colour(row: Row) -> str:
    if row.untrained is None or row.ours == row.untrained:
        return "default"
    is_better = (row.ours > row.untrained) == find_metric(row.metric).is_higher_better
    return "green" if is_better else "red"
