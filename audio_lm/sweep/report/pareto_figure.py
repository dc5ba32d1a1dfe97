"""Picture of the Pareto fronts between pairs of metrics."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audio_lm.sweep.report.pareto import metric_pairs, pareto_front
from audio_lm.sweep.report.points import candidates, named_points
from audio_lm.sweep.report.style import DARK, GREY, LABEL, TICK, legend_below, mark_points
from audio_lm.sweep.report.view import FitView
from audio_lm.sweep.table import Floats
from audio_lm.tracking.report.figures import new_figure

CANDIDATES = 3000
MAX_PAIRS = 6
MAX_COLUMNS = 3
PANEL_WIDTH, PANEL_HEIGHT = 3.9, 3.5  # inches
FRONT = "#4f46b8"


def pareto_figure(view: FitView) -> Figure:
    """Plot measured trials and the predicted front for each pair of metrics, at most six of them.

    Raises:
        ValueError: fewer than two metrics were fitted.
    """
    pairs = metric_pairs(view)
    if not pairs:
        raise ValueError("a Pareto front of one metric; it needs two")
    shown, points = pairs[:MAX_PAIRS], candidates(view.fit, CANDIDATES)
    num_columns = min(MAX_COLUMNS, len(shown))
    num_rows = -(-len(shown) // num_columns)
    figure = new_figure(width=PANEL_WIDTH * num_columns, height=PANEL_HEIGHT * num_rows + 0.5)
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, pair in zip(grid.flat, shown, strict=False):
        _draw(view, pair, points, axes)
    if left := len(pairs) - len(shown):
        figure.suptitle(f"{left} more pairs are on the page", fontsize=LABEL)
    legend_below(figure, grid[0, 0])
    return figure


def _draw(view: FitView, pair: tuple[str, str], points: Floats, axes: Axes) -> None:
    measured = np.stack([view.measured(name) for name in pair], axis=1)
    predicted = np.stack([view.predict(name, points)[0] for name in pair], axis=1)
    front = predicted[pareto_front(_costs(view, pair, predicted))]
    noise = [view.noise(name) for name in pair]
    if all(map(math.isfinite, noise)):
        axes.errorbar(
            measured[:, 0], measured[:, 1], xerr=2 * noise[0], yerr=2 * noise[1], fmt="none", ecolor=GREY, elinewidth=0.7,
            alpha=0.55, zorder=1, label="twice the noise of one run",
        )  # fmt: skip
    axes.scatter(
        measured[:, 0],
        measured[:, 1],
        s=20,
        color="#b9bfca",
        edgecolor=DARK,
        linewidth=0.6,
        zorder=2,
        label="trial, measured",
    )
    axes.plot(*front.T, color=FRONT, linewidth=2, marker=".", markersize=4, zorder=3, label="predicted front")
    places = {
        name: [float(view.predict(metric, shares[None])[0][0]) for metric in pair]
        for name, shares in named_points(view.fit).items()
    }
    mark_points(axes, places)
    across, up = pair
    axes.set_xlabel(view.title(across), fontsize=TICK, parse_math=False)
    axes.set_ylabel(view.title(up), fontsize=TICK, parse_math=False)
    if view.is_log(across):
        axes.set_xscale("log")
    if view.is_log(up):
        axes.set_yscale("log")
    if not view.is_min(across):
        axes.invert_xaxis()
    if not view.is_min(up):
        axes.invert_yaxis()
    axes.tick_params(labelsize=TICK)
    axes.spines[["top", "right"]].set_visible(False)


def _costs(view: FitView, pair: tuple[str, str], values: Floats) -> Floats:
    return np.stack([view.cost(name, values[:, at]) for at, name in enumerate(pair)], axis=1)
