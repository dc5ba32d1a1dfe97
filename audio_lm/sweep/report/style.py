"""Common look of a report's pictures: colours, fonts, levels of colour that are no finer than the noise.

In every picture a lighter colour is a better value.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Colormap
from matplotlib.figure import Figure

from audio_lm.sweep.noise import NAMED_SPREADS
from audio_lm.sweep.report.points import BEST
from audio_lm.sweep.report.view import FitView
from audio_lm.sweep.table import Floats

MAX_LEVELS, MIN_LEVELS = 12, 3
NUM_EQUAL = 4  # bands before their width doubles
TITLE, LABEL, TICK = 10, 9, 8  # sizes of fonts
GREY, DARK = "#8a919e", "#2b303a"
COLOUR_OF_POINT = {BEST: "#d62728", "recipe": "#1f5fbf", "uniform": "#111111", "proportional": "#8a5a00"}
MARKER_OF_POINT = {BEST: "*", "recipe": "D", "uniform": "s", "proportional": "^"}
OTHER_COLOUR, OTHER_MARKER = "#111111", "o"
LINE_COLOURS = ("#4f46b8", "#d1661f", "#16856b", "#b3361e", "#8a5a00", "#1f7fbf", "#9c3f8f", "#5c6b00")


@dataclass(frozen=True)
class Scale:
    """Colours of a metric's values, in bands at least twice the noise wide."""

    norm: BoundaryNorm
    cmap: Colormap
    is_flat: bool
    """True if all values lie within one band."""

    @property
    def levels(self) -> Floats:
        """Limits of the bands."""
        return np.asarray(self.norm.boundaries)

    @property
    def mappable(self) -> ScalarMappable:
        """Colours for a colour bar."""
        return ScalarMappable(self.norm, self.cmap)


def scale_of(values: Floats, *, is_min: bool, threshold: float) -> Scale:
    """Colours for values of a metric; an infinite threshold, of unknown noise, gives the finest bands.

    Bands are equally wide; if half of the values would lie within the best one, bands double in width away from it.
    """
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    noise = threshold if math.isfinite(threshold) else 0.0
    smallest = 1e-9 * max(abs(low), abs(high), 1.0)
    step = _round_up(max((high - low) / MAX_LEVELS, noise, smallest))
    middle = float(np.nanmedian(values))
    half = middle - low if is_min else high - middle
    if half < step < (high - low) / MIN_LEVELS:
        finest = (high - low) / (NUM_EQUAL * 2 ** (MAX_LEVELS - NUM_EQUAL))
        step = _round_up(max(half / NUM_EQUAL, noise, finest))
        doubling = _doubling(low if is_min else -high, high - low, step)
        boundaries: Floats = doubling if is_min else -doubling[::-1]
    else:
        first = math.floor(low / step + 1e-9)
        number = max(1, math.ceil((high - first * step) / step - 1e-9))
        boundaries = step * (first + np.arange(number + 1, dtype=np.float64))
    cmap = colormaps["viridis_r" if is_min else "viridis"]
    is_flat = len(boundaries) == 2
    norm = BoundaryNorm(boundaries, cmap.N, clip=True) if is_flat else BoundaryNorm(boundaries, cmap.N)
    return Scale(norm, cmap, is_flat)


def _doubling(low: float, size: float, step: float) -> Floats:
    """Limits from a value on: some bands of the width of a step, then each as wide as all before it."""
    start = step * math.floor(low / step + 1e-9)
    multiples = [*range(NUM_EQUAL + 1)]
    while step * multiples[-1] < size + low - start:
        multiples.append(2 * multiples[-1])
    return start + step * np.array(multiples, dtype=float)


def _round_up(width: float) -> float:
    """Smallest of 1, 2, 2.5 and 5 times a power of ten that is not under a width."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= width * (1 - 1e-9))


def noise_note(view: FitView) -> str:
    """Line below a picture about the width of its bands."""
    if any(math.isfinite(view.threshold(name)) for name in view.names):
        return f"a band of colour is at least {NAMED_SPREADS:g} times the noise of one run wide"
    return "the noise is not known, as no mixture was repeated: a change of colour is no effect"


def mark_points(axes: Axes, points: Mapping[str, Sequence[float] | Floats]) -> None:
    """Draw named mixtures with their markers; values are the coordinates."""
    for name, place in points.items():
        axes.scatter(  # type: ignore[misc]  # axes of mpltern take three coordinates
            *([value] for value in place), marker=MARKER_OF_POINT.get(name, OTHER_MARKER),
            s=170 if name == BEST else 46, color=COLOUR_OF_POINT.get(name, OTHER_COLOUR),
            edgecolor="white", linewidth=1.0, zorder=6, label=name, clip_on=False,
        )  # fmt: skip


def legend_below(figure: Figure, axes: Axes, *, note: str = "") -> None:
    """Legend of one axes below all of a figure's axes, with a line of text as its title."""
    handles, labels = axes.get_legend_handles_labels()
    if handles or note:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=7, fontsize=TICK, frameon=False,
            title=note, title_fontsize=TICK,
        )  # fmt: skip
