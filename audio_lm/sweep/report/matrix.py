"""Picture of the transfer matrix: the effect of each task's share on each metric, with intervals."""

import math

import numpy as np
from matplotlib.figure import Figure

from audio_lm.sweep.report.effects import STEP, Effect, transfer_matrix
from audio_lm.sweep.report.points import reference_point
from audio_lm.sweep.report.style import LABEL, TICK
from audio_lm.sweep.report.view import NOISE_FACTOR, FitView
from audio_lm.tracking.report.figures import new_figure

BETTER, WORSE, UNNAMED = "#16856b", "#c2410c", "#eceef2"
CELL_WIDTH, CELL_HEIGHT = 1.35, 0.62  # inches
FULL_COLOUR = 5.0  # times the noise threshold


def matrix_figure(view: FitView) -> Figure:
    """Plot the transfer matrix at the recipe's own mixture; cells within the noise have no number."""
    at, shares = reference_point(view.fit)
    matrix = transfer_matrix(view, shares)
    tasks = view.tasks
    figure = new_figure(width=CELL_WIDTH * len(tasks) + 2.6, height=CELL_HEIGHT * len(matrix) + 1.6)
    axes = figure.subplots()
    for row, effects in enumerate(matrix.values()):
        for column, effect in enumerate(effects):
            colour, alpha, text = _cell(effect)
            axes.add_patch(_rectangle(column, row, colour, alpha))
            dark = alpha > 0.6 and effect.is_named
            axes.text(
                column, row, text, ha="center", va="center", fontsize=TICK,
                color="white" if dark else "#1b1f27" if effect.is_named else "#8a919e",
            )  # fmt: skip
    axes.set_xlim(-0.5, len(tasks) - 0.5)
    axes.set_ylim(len(matrix) - 0.5, -0.5)
    axes.set_xticks(range(len(tasks)), [f"more {task}" for task in tasks], fontsize=LABEL, parse_math=False)
    axes.set_yticks(range(len(matrix)), list(matrix), fontsize=LABEL, parse_math=False)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.set_title(
        f"change for {100 * STEP:.0f} points more of a task, around the mixture {at!r}",
        fontsize=LABEL,
        pad=12,
    )
    axes.set_xlabel(
        f"green: better, orange: worse; below it the 95 % interval\n"
        f"grey: under {NOISE_FACTOR:g} times the noise of one run, or the interval includes zero",
        fontsize=TICK, labelpad=8,
    )  # fmt: skip
    return figure


def _cell(effect: Effect) -> tuple[str, float, str]:
    """Colour, opacity and text of a cell."""
    if effect.per_step is None:
        return UNNAMED, 1.0, "fixed"
    difference = effect.difference
    assert difference is not None, "an effect has a difference unless the share is fixed"
    if not effect.is_named:
        return UNNAMED, 1.0, "noise unknown" if math.isinf(difference.threshold) else "within noise"
    change, low, high = effect.per_step
    strength = abs(difference.change) / (FULL_COLOUR * difference.threshold) if difference.threshold else 1.0
    digits = max(0, 2 - int(np.floor(np.log10(max(abs(change), 1e-12)))) - 1)
    text = f"{change:+.{digits}f}\n{low:+.{digits}f} to {high:+.{digits}f}"
    return (BETTER if difference.is_better else WORSE), 0.25 + 0.75 * min(1.0, strength), text


def _rectangle(column: int, row: int, colour: str, alpha: float) -> object:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, facecolor=colour, alpha=alpha, linewidth=0)
