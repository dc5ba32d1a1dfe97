"""Effects of shares on metrics, and differences between mixtures; smaller ones than twice the noise have no name.

Intervals are those of the difference between two runs, one of each mixture: they contain the noise of both.

Shapes: K tasks or groups.
"""

import math
from dataclasses import dataclass

import numpy as np

from audio_lm.sweep.fit import Z_95
from audio_lm.sweep.report.points import along, range_along
from audio_lm.sweep.report.view import FitView
from audio_lm.sweep.table import Floats

STEP = 0.10
"""Change of a share that an effect is stated for: ten percentage points."""

MIN_RANGE = 1e-6
FULL_COLOUR = 5.0


@dataclass(frozen=True)
class Difference:
    """Difference of a metric between two mixtures."""

    metric: str
    """Watched metric."""

    change: float
    """Predicted difference."""

    low: float
    high: float
    """95 % interval."""

    is_min: bool
    """True if smaller values of the metric are better."""

    threshold: float
    """Smallest difference that may be named; infinite if the noise is not known."""

    @property
    def is_named(self) -> bool:
        """True if it is at least twice the noise, and the interval excludes zero."""
        return abs(self.change) >= self.threshold and (self.low > 0 or self.high < 0)

    @property
    def is_better(self) -> bool:
        """True if it is an improvement."""
        return (self.change < 0) == self.is_min


@dataclass(frozen=True)
class Effect:
    """Effect of a task's share on a metric; the other tasks keep their proportions."""

    task: str
    """Task or group."""

    start: float
    end: float
    """Shares between which the metric was compared."""

    difference: Difference | None
    """Difference between the two; None if the bounds fix the share."""

    @property
    def per_step(self) -> tuple[float, float, float] | None:
        """Change for ten percentage points, and its 95 % interval; None if the share is fixed."""
        if self.difference is None:
            return None
        scale = STEP / (self.end - self.start)
        return (
            scale * self.difference.change,
            scale * self.difference.low,
            scale * self.difference.high,
        )

    @property
    def is_named(self) -> bool:
        """True if the difference may be named."""
        return self.difference is not None and self.difference.is_named

    @property
    def why_unnamed(self) -> str:
        """Reason, in two words, why it may not be named; empty if it may."""
        if self.difference is None:
            return "share fixed"
        if self.is_named:
            return ""
        return "noise unknown" if math.isinf(self.difference.threshold) else "within noise"

    @property
    def strength(self) -> float:
        """Size in a colour scale, 0 to 1: full at five times the smallest difference that may be named."""
        if self.difference is None or not self.difference.threshold > 0:
            return 1.0
        return min(1.0, abs(self.difference.change) / (FULL_COLOUR * self.difference.threshold))


def difference(view: FitView, metric: str, start: Floats, end: Floats) -> Difference:
    """Predicted difference of a metric, or of the objective, from one mixture (K) to another."""
    mean, deviation = view.predict(metric, np.stack([start, end]))
    change, half_width = float(mean[1] - mean[0]), Z_95 * math.hypot(*map(float, deviation))
    return Difference(
        metric,
        change,
        change - half_width,
        change + half_width,
        view.is_min(metric),
        view.threshold(metric),
    )


def transfer_matrix(view: FitView, shares: Floats) -> dict[str, list[Effect]]:
    """Effect of ten percentage points more of each task (K) on the objective and each metric, around a mixture (K).

    Where the bounds leave less than ten points, the effect is that of the range they leave.
    """
    steps = [_step_around(shares, task, view.fit.bounds) for task in range(len(shares))]
    return {
        metric: [_effect(view, metric, shares, task, step) for task, step in enumerate(steps)]
        for metric in view.names
    }


def _step_around(shares: Floats, task: int, bounds: Floats) -> tuple[float, float]:
    """Shares of a task ten points apart, centred on the mixture where the bounds allow it."""
    least, most = range_along(shares, task, bounds)
    start = max(least, min(shares[task] - STEP / 2, most - STEP))
    return float(start), float(min(most, start + STEP))


def _effect(view: FitView, metric: str, shares: Floats, task: int, step: tuple[float, float]) -> Effect:
    start, end = step
    name = view.tasks[task]
    if end - start < MIN_RANGE:
        return Effect(name, start, end, None)
    low, high = along(shares, task, np.array(step))
    return Effect(name, start, end, difference(view, metric, low, high))
