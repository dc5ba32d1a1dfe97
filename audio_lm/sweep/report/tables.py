"""Tables of a report: trials with a column per task and metric, metrics with their regression, mixtures side by side."""

import math
from collections.abc import Sequence

import numpy as np

from audio_lm.sweep.noise import ceiling_of
from audio_lm.sweep.report.points import named_points
from audio_lm.sweep.report.view import FitView
from audio_lm.sweep.table import Floats

Table = list[list[str]]
"""Rows of cells; the first row is the header."""


def trial_table(view: FitView) -> Table:
    """Rows of all trials, the best objective first: purpose, seed, shares in percent, settings, objective, metrics."""
    table = view.fit.table
    settings = [*table.settings]
    header = ["trial", "purpose", "seed", *(f"{task} %" for task in view.tasks), *settings, *view.names]
    first = view.names[0]
    order = np.argsort(view.cost(first, view.measured(first)), kind="stable")  # NaN comes last
    rows = [
        [
            table.runs[row],
            table.purposes[row] if table.purposes else "",
            str(table.seeds[row]) if table.seeds else "",
            *(percent(share) for share in table.shares[row]),
            *(str(table.settings[key][row]) for key in settings),
            *(view.text(name, float(view.measured(name)[row])) for name in view.names),
        ]
        for row in order
    ]
    return _without_empty_columns([header, *rows])


def metric_table(view: FitView) -> Table:
    """Rows of the fitted metrics: regression, its rank correlations, noise, and the range over the trials.

    The ceiling is the largest correlation with measured values that a perfect prediction can have, given the noise.
    """
    columns = "metric, better, weight, regression, 5-fold rank correlation, leave-one-out, ceiling, noise, trials' range"
    rows = [columns.split(", ")]
    for name in view.metrics:
        surface, values = view.fit.surfaces[name], view.measured(name)
        noise = view.noise(name)
        rows.append(
            [
                name,
                "smaller" if view.is_min(name) else "larger",
                f"{view.fit.metrics[name].weight:g}",
                surface.model,
                f"{surface.rank_correlation:.2f}",
                f"{surface.leave_one_out:.2f}",
                "" if math.isnan(noise) else f"{ceiling_of(values, noise):.2f}",
                "" if math.isnan(noise) else f"{noise:.2g}",
                f"{view.text(name, float(np.nanmin(values)))} to {view.text(name, float(np.nanmax(values)))}",
            ]
        )
    return rows


def mixture_table(view: FitView) -> Table:
    """Columns of the named mixtures: shares in percent, then the prediction of the objective and each metric."""
    points = named_points(view.fit)
    rows = [["", *points]]
    rows += [
        [f"{task} %", *(percent(shares[at]) for shares in points.values())]
        for at, task in enumerate(view.tasks)
    ]
    stacked = np.stack(list(points.values()))
    for name in view.names:
        mean, _ = view.predict(name, stacked)
        rows.append([name, *(view.text(name, float(value)) for value in mean)])
    return rows


def percent(share: float) -> str:
    """Share in percent with one decimal place.

    >>> percent(0.2549)
    '25.5'
    """
    return f"{100 * share:.1f}"


def shares_text(tasks: Sequence[str], shares: Floats) -> str:
    """Shares as words, the largest first."""
    pairs = sorted(zip(shares.tolist(), tasks, strict=True), key=lambda pair: -pair[0])
    return ", ".join(f"{task} {percent(share)} %" for share, task in pairs)


def _without_empty_columns(table: Table) -> Table:
    kept = [at for at in range(len(table[0])) if any(row[at] for row in table[1:])]
    return [[row[at] for at in kept] for row in table]
