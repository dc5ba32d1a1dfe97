"""Figures of numbers: curves over steps, bars of several kinds side by side, histograms, and margins of pairs."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from audio_lm.tracking.report.audio_report import FloatArray
from audio_lm.tracking.report.figures import COLOURS, DARK, GREY, LABEL, TICK, TITLE, new_figure, panel_axes

FEW_POINTS = 12  # of a curve; they are marked
MAX_COLUMNS = 3  # of panels
BINS = 36
OUTER = 0.5  # percent of the values at each end that a histogram adds to its outer bars
HEIGHT_OF_BAR = 0.15  # inches
ALL = "all"  # name of the curve of all tasks


Curve = Sequence[tuple[int, float]]
"""Steps, which ascend, and values."""


class Margins(NamedTuple):
    """Log-probabilities (Q, 2) of the chosen and the rejected answer of pairs, under a reference and after training."""

    before: FloatArray
    after: FloatArray

    @property
    def difference_before(self) -> FloatArray:
        """(Q,) log-probability of the chosen answer less that of the rejected one, under the reference."""
        return np.asarray(self.before[:, 0] - self.before[:, 1])

    @property
    def difference_after(self) -> FloatArray:
        """(Q,) the same after training."""
        return np.asarray(self.after[:, 0] - self.after[:, 1])


def curves_figure(panels: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Plot curves over the steps of a stage.

    Args:
        panels: title of a panel, with the unit -> name of a curve -> curve.
    """
    num_columns = 2 if len(panels) == 4 else max(1, min(MAX_COLUMNS, len(panels)))
    num_rows = max(1, -(-len(panels) // num_columns))
    figure = new_figure(width=max(6.4, 4.4 * num_columns), height=0.4 + 2.9 * num_rows)
    for axes, (title, curves) in zip(
        panel_axes(figure, len(panels), num_columns=num_columns), panels.items(), strict=True
    ):
        for number, (name, curve) in enumerate(curves.items()):
            is_short, is_all = len(curve) <= FEW_POINTS, name == ALL
            axes.plot(
                [step for step, _ in curve], [value for _, value in curve],
                color=DARK if is_all else COLOURS[number % len(COLOURS)], label=name, linewidth=2.2 if is_all else 1.5,
                marker="o" if is_short else None, markersize=3.5, linestyle="-" if number < len(COLOURS) else "--",
            )  # fmt: skip
        axes.set_title(title, fontsize=TITLE, loc="left", parse_math=False)
        axes.set_xlabel("step", fontsize=LABEL)
        axes.set_xlim(left=0)
        axes.grid(axis="y", color=GREY, linewidth=0.4)
        if len(curves) > 1:
            axes.legend(fontsize=TICK, frameon=False, ncols=2)
    return figure


def bars_figure(
    rows: Mapping[str, Mapping[str, float]],
    *,
    unit: str,
    title: str = "",
    notes: Mapping[str, str] | None = None,
) -> Figure:
    """Plot a group of horizontal bars for each row, one for each kind.

    Args:
        rows: name -> kind -> value; all rows have the same kinds.
        unit: of the values, below the axis.
        notes: name of a row -> text at its right.
    """
    kinds = list(next(iter(rows.values()), {}))
    height = HEIGHT_OF_BAR * max(1, len(kinds)) + 0.14
    figure = new_figure(width=9.0, height=1.1 + height * max(1, len(rows)))
    axes = figure.subplots()
    places = np.arange(len(rows), dtype=float)
    thickness = 0.8 / max(1, len(kinds))
    for number, kind in enumerate(kinds):
        values = [row[kind] for row in rows.values()]
        shifted = places + (number - (len(kinds) - 1) / 2) * thickness
        axes.barh(shifted, values, height=0.9 * thickness, color=COLOURS[number % len(COLOURS)], label=kind)
    highest = max((value for row in rows.values() for value in row.values()), default=1.0)
    for place, (name, row) in zip(places, rows.items(), strict=True):
        if note := (notes or {}).get(name):
            axes.text(
                max(row.values()) + 0.02 * highest, place, note, fontsize=TICK, va="center", color=DARK, parse_math=False
            )  # fmt: skip
    axes.set_yticks(places, list(rows), fontsize=LABEL, parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.45 if notes else 0.05, y=0.02)
    axes.tick_params(labelsize=TICK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(unit, fontsize=LABEL)
    axes.set_title(title, fontsize=TITLE, loc="left", parse_math=False)
    if len(kinds) > 1:
        figure.legend(loc="outside lower center", ncols=4, fontsize=TICK, frameon=False)
    return figure


def histogram_figure(values: Mapping[str, Sequence[float]], *, unit: str, title: str = "") -> Figure:
    """Plot distributions on one axis, each with its median as a dashed line.

    Args:
        values: name -> values; infinite ones are left out.
    """
    figure = new_figure(width=7.5, height=3.2)
    (axes,) = panel_axes(figure, 1, num_columns=1)
    finite = {name: np.asarray(each)[np.isfinite(each)] for name, each in values.items()}
    everything = np.concatenate([*finite.values(), np.zeros(0)])
    if everything.size:
        edges = bin_edges(everything)
        for number, (name, each) in enumerate(finite.items()):
            colour = COLOURS[number % len(COLOURS)]
            axes.hist(
                np.clip(each, edges[0], np.nextafter(edges[-1], edges[0])),
                bins=edges.tolist(),
                color=colour,
                alpha=0.45,
                label=name,
                edgecolor=colour,
                linewidth=0.6,
            )
            if each.size:
                axes.axvline(float(np.median(each)), color=colour, linewidth=1.6, linestyle="--")
        axes.legend(fontsize=TICK, frameon=False)
    else:
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", fontsize=TITLE)
    axes.set_xlabel(unit, fontsize=LABEL)
    axes.set_ylabel("number", fontsize=LABEL)
    axes.set_title(title, fontsize=TITLE, loc="left", parse_math=False)
    return figure


def bin_edges(values: FloatArray) -> FloatArray:
    """Edges of at most ``BINS`` + 1 equal bins at multiples of 1, 2 or 5 times a power of ten, without the outermost values."""
    low, high = np.percentile(values, [OUTER, 100 - OUTER])
    least = max(float(high - low) / BINS, 1e-9)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    return np.asarray(step * np.arange(math.floor(low / step), math.floor(high / step) + 2))


def boxes_figure(values: Mapping[str, Sequence[float]], *, unit: str, title: str = "") -> Figure:
    """Plot distributions below each other: median, quartiles, and the range as whiskers."""
    figure = new_figure(width=7.5, height=1.0 + 0.36 * max(1, len(values)))
    (axes,) = panel_axes(figure, 1, num_columns=1)
    if values:
        names = [f"{name}  ({len(each):,})" for name, each in values.items()]
        boxes = axes.boxplot(
            list(values.values()), orientation="horizontal", tick_labels=names, widths=0.6, whis=(0, 100), patch_artist=True,
            medianprops={"color": DARK, "linewidth": 1.6},
        )  # fmt: skip
        for number, box in enumerate(boxes["boxes"]):
            box.set(facecolor=COLOURS[number % len(COLOURS)], alpha=0.6)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=LABEL)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit, fontsize=LABEL)
    axes.set_title(title, fontsize=TITLE, loc="left", parse_math=False)
    return figure


def margins_figure(margins: Margins) -> Figure:
    """Plot pairs before and after preference training: margins, and the changes of both answers.

    In the left panel a point above the diagonal has gained margin, and one above zero prefers the chosen answer. In the right
    panel a point below the diagonal has gained margin, whichever answer became more or less probable.
    """
    figure = new_figure(width=11.0, height=4.6)
    left, right = panel_axes(figure, 2, num_columns=2)
    before, after = margins.difference_before, margins.difference_after
    left.scatter(before, after, s=22, color=COLOURS[0], alpha=0.6, linewidth=0)
    left.axline((0, 0), slope=1, color=GREY, linewidth=1, linestyle="--")
    left.set_xlabel("before, nats", fontsize=LABEL)
    left.set_ylabel("after, nats", fontsize=LABEL)
    left.set_title("log p(chosen) - log p(rejected)", fontsize=TITLE, loc="left")
    change = margins.after - margins.before
    right.scatter(change[:, 0], change[:, 1], s=22, color=COLOURS[3], alpha=0.6, linewidth=0)
    right.axline((0, 0), slope=1, color=GREY, linewidth=1, linestyle="--")
    right.set_xlabel("change of log p(chosen), nats", fontsize=LABEL)
    right.set_ylabel("change of log p(rejected), nats", fontsize=LABEL)
    right.set_title("change by the training", fontsize=TITLE, loc="left")
    for axes in (left, right):
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.axvline(0, color=GREY, linewidth=0.8)
    return figure
