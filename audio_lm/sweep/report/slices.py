"""Slices of the surfaces: each metric over the share of one task, while the others keep their proportions.

Shapes: N points of a slice, K tasks or groups.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audio_lm.sweep.fit import Z_95
from audio_lm.sweep.report.points import along, named_points, range_along
from audio_lm.sweep.report.style import (
    COLOUR_OF_POINT,
    GREY,
    LABEL,
    LINE_COLOURS,
    OTHER_COLOUR,
    TICK,
    legend_below,
)
from audio_lm.sweep.report.view import FitView
from audio_lm.sweep.table import Floats
from audio_lm.tracking.report.figures import new_figure

POINTS = 41
MIN_RANGE = 1e-6
BEYOND = 3.0  # factor by which a logarithmic axis is longer than the range of the trials
PANEL_WIDTH, PANEL_HEIGHT = 2.5, 1.9  # inches
MAX_PANEL_COLUMNS = 6


@dataclass(frozen=True)
class Slice:
    """Prediction of a metric over the share of a task, within the bounds."""

    name: str
    """Metric, or the objective."""

    task: str
    """Task or group."""

    shares: Floats
    """Shares of the task (N)."""

    mean: Floats
    """Predicted values (N)."""

    half_width: Floats
    """Half width of their 95 % interval (N)."""


def slice_of(view: FitView, name: str, task: int, shares: Floats, *, points: int = POINTS) -> Slice | None:
    """Slice through a mixture (K); None if the bounds fix the task's share."""
    least, most = range_along(shares, task, view.fit.bounds)
    if most - least < MIN_RANGE:
        return None
    values = np.linspace(least, most, points)
    mean, deviation = view.predict(name, along(shares, task, values))
    return Slice(name, view.tasks[task], values, mean, Z_95 * deviation)


def slices_figure(view: FitView) -> Figure:
    """Plot every metric over every task's share, through the first of the named mixtures, with 95 % intervals.

    The grey band is twice the noise high: a curve that stays inside shows no effect.
    """
    points = named_points(view.fit)
    through, shares = next(iter(points.items()))
    tasks, names = view.tasks[:MAX_PANEL_COLUMNS], view.names
    figure = new_figure(width=PANEL_WIDTH * len(tasks) + 0.6, height=PANEL_HEIGHT * len(names) + 0.7)
    grid = figure.subplots(len(names), len(tasks), sharey="row", squeeze=False)
    for row, name in enumerate(names):
        for column in range(len(tasks)):
            axes, curve = grid[row, column], slice_of(view, name, column, shares)
            if curve is None:
                axes.set_axis_off()
                continue
            _draw(view, curve, axes, LINE_COLOURS[column % len(LINE_COLOURS)])
            _draw_points(view, name, column, axes, points)
            axes.set_xlabel(f"share of {view.tasks[column]}, %", fontsize=TICK, parse_math=False)
        _scale_values(view, name, grid[row, 0])
        grid[row, 0].set_ylabel(name, fontsize=TICK, parse_math=False)
    for axes in grid.flat:
        axes.tick_params(labelsize=TICK)
        axes.spines[["top", "right"]].set_visible(False)
    left = len(view.tasks) - len(tasks)
    figure.suptitle(
        f"through the mixture {through!r}; the other tasks keep their proportions"
        + (f"; {left} more tasks are on the page" if left else ""),
        fontsize=LABEL,
    )
    legend_below(figure, grid[0, 0])
    return figure


def _scale_values(view: FitView, name: str, axes: Axes) -> None:
    """Logarithmic axis of a row for a metric that spans more than an order of magnitude; intervals are cut at its ends."""
    if view.is_log(name):
        measured = view.measured(name)
        axes.set_yscale("log")
        axes.set_ylim(np.nanmin(measured) / BEYOND, np.nanmax(measured) * BEYOND)


def _draw(view: FitView, curve: Slice, axes: Axes, colour: str) -> None:
    percent = 100 * curve.shares
    threshold = view.threshold(curve.name)
    if math.isfinite(threshold):
        middle = float(np.median(curve.mean))
        axes.axhspan(
            middle - threshold / 2, middle + threshold / 2, color=GREY, alpha=0.22, linewidth=0,
            label="twice the noise of one run",
        )  # fmt: skip
    axes.fill_between(
        percent, curve.mean - curve.half_width, curve.mean + curve.half_width, color=colour, alpha=0.2,
        linewidth=0, label="95 % interval",
    )  # fmt: skip
    axes.plot(percent, curve.mean, color=colour, linewidth=1.8, label="prediction")


def _draw_points(view: FitView, name: str, task: int, axes: Axes, points: Mapping[str, Floats]) -> None:
    """Vertical lines at the shares of the named mixtures."""
    for point, shares in points.items():
        axes.axvline(
            100 * shares[task], color=COLOUR_OF_POINT.get(point, OTHER_COLOUR), linewidth=0.9, linestyle=":",
            label=point,
        )  # fmt: skip
