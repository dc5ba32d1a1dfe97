"""Parallel coordinates: one line per trial through its shares and metrics."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from audio_lm.sweep.report.points import BASELINES, BEST
from audio_lm.sweep.report.style import COLOUR_OF_POINT, DARK, LABEL, TICK, legend_below, noise_note, scale_of
from audio_lm.sweep.report.view import FitView
from audio_lm.sweep.table import Floats
from audio_lm.tracking.report.figures import new_figure

Booleans = np.ndarray[Any, np.dtype[np.bool_]]
COLUMN_WIDTH, MAX_WIDTH, HEIGHT = 1.25, 26.0, 4.2  # inches
MARGIN = 0.04
BOX = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
LINE_OF: Mapping[str, Any] = {
    "recipe": {"color": "black", "linestyle": (0, (4, 2))},
    "uniform": {"color": "black", "linestyle": (0, (1, 1.5))},
    "proportional": {"color": "black", "linestyle": (0, (6, 2, 1, 2))},
    BEST: {"color": COLOUR_OF_POINT[BEST], "linestyle": "solid"},
}


def parallel_figure(view: FitView) -> Figure:
    """Plot the trials over one axis per task and per metric, in the colour of the first metric or the objective.

    Axes of metrics have the better end at the top. Trials in which a value was not measured are left out.
    """
    columns = np.concatenate(
        [100 * view.fit.table.shares, *(view.measured(name)[:, None] for name in view.names)], axis=1
    )
    known = np.isfinite(columns).all(axis=1)
    scales = _Axes.of(view, columns[known])
    names = [*(f"{task}, %" for task in view.tasks), *view.names]
    figure = new_figure(width=min(COLUMN_WIDTH * len(names), MAX_WIDTH) + 1.6, height=HEIGHT)
    axes = figure.subplots()
    first, values = view.names[0], columns[known, len(view.tasks)]
    scale = scale_of(values, is_min=view.is_min(first), threshold=view.threshold(first))
    order = np.argsort(-view.cost(first, values))  # the best on top
    lines = [list(enumerate(line)) for line in scales.heights(columns[known][order])]
    colours = scale.cmap(scale.norm(values[order]))
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.6, alpha=0.9))
    for name, heights in _named_lines(view, columns, scales):
        axes.plot(heights, **LINE_OF[name], linewidth=1.5, label=name, zorder=5)
    _draw_axes(axes, names, scales)
    left_out = int((~known).sum())
    axes.set_title(
        f"{int(known.sum())} trials" + (f", {left_out} without all measurements left out" if left_out else ""),
        fontsize=LABEL, loc="left",
    )  # fmt: skip
    bar = figure.colorbar(scale.mappable, ax=axes, shrink=0.85, pad=0.01)
    bar.ax.tick_params(labelsize=TICK)
    bar.set_label(view.title(first), fontsize=TICK, parse_math=False)
    legend_below(figure, axes, note=noise_note(view))
    return figure


def _named_lines(view: FitView, columns: Floats, scales: "_Axes") -> Iterator[tuple[str, Floats]]:
    """Names and heights of the baselines as measured, and of the recommended mixture as predicted."""
    for purpose in BASELINES:
        for row in view.trials_of([purpose])[:1]:
            yield purpose, scales.heights(columns[row])
    if view.fit.best is not None:
        shares = view.fit.best.shares
        predicted = [view.predict(name, shares[None])[0][0] for name in view.names]
        yield BEST, scales.heights(np.array([*(100 * shares), *predicted]))


def _draw_axes(axes: Axes, names: Sequence[str], scales: "_Axes") -> None:
    for at in range(len(names)):
        axes.axvline(at, color=DARK, linewidth=0.8, zorder=3)
        for height in (0.0, 0.5, 1.0):
            text = f"{scales.value_at(at, height):.3g}"
            axes.text(at + 0.03, height, text, fontsize=TICK - 1, va="center", zorder=6, bbox=BOX)
    axes.set_xlim(-0.35, len(names) - 0.45)
    axes.set_ylim(-0.08, 1.08)
    axes.set_xticks(range(len(names)), names, fontsize=TICK, rotation=20, ha="right", parse_math=False)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


@dataclass(frozen=True)
class _Axes:
    """Scales of the axes (A): shares and most metrics are linear, metrics that span orders of magnitude logarithmic."""

    ends: Floats
    """Values, or their logarithms, at the bottom and at the top (2, A); the better end of a metric is the top."""

    is_log: Booleans

    @classmethod
    def of(cls, view: FitView, columns: Floats) -> Self:
        """Scales for columns of values (N, A)."""
        num_tasks = len(view.tasks)
        is_log = np.array([False] * num_tasks + [view.is_log(name) for name in view.names])
        columns = _with_logs(columns, is_log)
        low, high = columns.min(axis=0), columns.max(axis=0)
        low[:num_tasks], high[:num_tasks] = 0.0, high[:num_tasks].max()
        margin = MARGIN * np.where(high > low, high - low, 1.0)
        low[num_tasks:] -= margin[num_tasks:]
        high[num_tasks:] += margin[num_tasks:]
        is_min = np.array([False] * num_tasks + [view.is_min(name) for name in view.names])
        return cls(np.stack([np.where(is_min, high, low), np.where(is_min, low, high)]), is_log)

    def heights(self, values: Floats) -> Floats:
        """Heights, 0 to 1, of values (..., A)."""
        return (_with_logs(values, self.is_log) - self.ends[0]) / (self.ends[1] - self.ends[0])

    def value_at(self, axis: int, height: float) -> float:
        """Value at a height of an axis."""
        low, high = self.ends[:, axis]
        value = float(low + height * (high - low))
        return math.exp(value) if self.is_log[axis] else value


def _with_logs(values: Floats, is_log: Booleans) -> Floats:
    return np.where(is_log, np.log(np.where(is_log, values, 1.0)), values)
