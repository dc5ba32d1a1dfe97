"""Ternary maps of three tasks: the objective and every metric over all mixtures.

A corner is a mixture of one task alone. mpltern draws the axes.
"""

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from audio_lm.common.errors import missing_extra
from audio_lm.sweep.report.points import named_points, triangle_grid
from audio_lm.sweep.report.style import (
    DARK,
    LABEL,
    TICK,
    TITLE,
    Scale,
    legend_below,
    mark_points,
    noise_note,
    scale_of,
)
from audio_lm.sweep.report.view import FitView
from audio_lm.sweep.table import Floats
from audio_lm.tracking.report.figures import new_figure

DIVISIONS, DIVISIONS_OF_BOUNDS = 60, 150
MAX_COLUMNS = 3
PANEL_WIDTH, PANEL_HEIGHT = 4.3, 3.7  # inches


def ternary_figure(view: FitView) -> Figure:
    """Plot a map of the objective and of every metric; the trials are points in the colour of their measured value.

    Raises:
        UserError: mpltern is not installed.
        ValueError: the sweep is not over three tasks.
    """
    if len(view.tasks) != 3:
        raise ValueError(f"a ternary map of {len(view.tasks)} tasks; it has three corners")
    try:
        import mpltern  # type: ignore[import-untyped]  # noqa: F401 -- registers its axes
    except ImportError:
        raise missing_extra("mpltern", extra="sweep", purpose="a ternary map") from None
    num_columns = min(MAX_COLUMNS if len(view.names) != 4 else 2, len(view.names))
    num_rows = -(-len(view.names) // num_columns)
    figure = new_figure(width=PANEL_WIDTH * num_columns, height=PANEL_HEIGHT * num_rows + 0.6)
    for number, name in enumerate(view.names, 1):
        axes = figure.add_subplot(num_rows, num_columns, number, projection="ternary", ternary_sum=1.0)
        scale = _draw_map(view, name, axes)
        bar = figure.colorbar(scale.mappable, ax=axes, shrink=0.7, pad=0.13)
        bar.ax.tick_params(labelsize=TICK)
    legend_below(figure, figure.axes[0], note=f"shares in percent; {noise_note(view)}")
    return figure


def _draw_map(view: FitView, name: str, axes: Any) -> Scale:
    grid, bounds = triangle_grid(DIVISIONS), view.fit.bounds
    mean, _ = view.predict(name, grid)
    measured = view.measured(name)
    scale = scale_of(
        mean[_bound_distance(grid, bounds) >= 0], is_min=view.is_min(name), threshold=view.threshold(name)
    )
    shown = np.clip(mean, scale.levels[0], scale.levels[-1])
    axes.tricontourf(*grid.T, shown, levels=scale.levels, cmap=scale.cmap, norm=scale.norm)
    _draw_bounds(axes, bounds)
    known = np.isfinite(measured)
    axes.scatter(
        *view.fit.table.shares[known].T, c=measured[known], cmap=scale.cmap, norm=scale.norm,
        s=26, edgecolor=DARK, linewidth=0.8, zorder=5, label="trial, measured",
    )  # fmt: skip
    mark_points(axes, named_points(view.fit))
    _label(axes, view.tasks)
    axes.set_title(view.title(name), fontsize=TITLE, pad=24, parse_math=False)
    return scale


def _draw_bounds(axes: Any, bounds: Floats) -> None:
    """Fade mixtures outside the bounds, where predictions are not used."""
    grid = triangle_grid(DIVISIONS_OF_BOUNDS)
    distance = _bound_distance(grid, bounds)
    if distance.min() < 0:
        axes.tricontourf(*grid.T, distance, levels=[-math.inf, 0], colors=["white"], alpha=0.85)
        axes.tricontour(*grid.T, distance, levels=[0], colors=[DARK], linewidths=0.8, linestyles="dashed")


def _bound_distance(grid: Floats, bounds: Floats) -> Floats:
    """Distance to the nearest bound, negative outside (N)."""
    return np.minimum(grid - bounds[:, 0], bounds[:, 1] - grid).min(axis=1)


def _label(axes: Any, tasks: tuple[str, ...]) -> None:
    """Names at the corners, upright, and percentages at the edges."""
    places = (((0.5, 1), 12), ((0, 0), -14), ((1, 0), -14))
    for task, (corner, below) in zip(tasks, places, strict=True):
        axes.annotate(
            task, corner, (0, below), xycoords="axes fraction", textcoords="offset points", ha="center",
            va="center", fontsize=LABEL, fontweight="bold", parse_math=False, annotation_clip=False,
        )  # fmt: skip
    for axis in (axes.taxis, axes.laxis, axes.raxis):
        axis.set_ticks([0.2, 0.4, 0.6, 0.8], ["20", "40", "60", "80"], fontsize=TICK)
    axes.grid(visible=True, color="white", linewidth=0.4, alpha=0.6)
