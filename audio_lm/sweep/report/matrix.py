"""Picture of the transfer matrix: the effect of each task's share on each metric, with intervals."""

import math

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from audio_lm.sweep.noise import NAMED_SPREADS
from audio_lm.sweep.report.effects import STEP, Effect, transfer_matrix
from audio_lm.sweep.report.points import reference_point
from audio_lm.sweep.report.style import LABEL, TICK
from audio_lm.sweep.report.view import FitView
from audio_lm.tracking.report.figures import new_figure

BETTER, WORSE, UNNAMED = "#16856b", "#c2410c", "#eceef2"
CELL_WIDTH, CELL_HEIGHT = 1.35, 0.62  # inches


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
        f"green: better, orange: worse; below it the 95 % interval of the difference between two runs\n"
        f"grey: under {NAMED_SPREADS:g} times the noise of one run, or the interval includes zero",
        fontsize=TICK, labelpad=8,
    )  # fmt: skip
    return figure


def _cell(effect: Effect) -> tuple[str, float, str]:
    """Colour, opacity and text of a cell."""
    if effect.difference is None or effect.per_step is None or not effect.is_named:
        return UNNAMED, 1.0, effect.why_unnamed
    change, low, high = effect.per_step
    digits = max(0, 1 - math.floor(math.log10(max(abs(change), 1e-12))))
    text = f"{change:+.{digits}f}\n{low:+.{digits}f} to {high:+.{digits}f}"
    return (BETTER if effect.difference.is_better else WORSE), 0.25 + 0.75 * effect.strength, text


def _rectangle(column: int, row: int, colour: str, alpha: float) -> Rectangle:
    return Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, facecolor=colour, alpha=alpha, linewidth=0)
