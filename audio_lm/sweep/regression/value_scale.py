"""Scale on which a regression sees the values of a metric: standardized, and in the logarithm if they span orders of magnitude.

A loss that is 0.02 at one mixture and 9 at another has noise in proportion to its size; without the logarithm the few
largest values decide the length scales and the intervals everywhere.

Shapes: N trials or points.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from audio_lm.sweep.regression.points import LOG_RATIO
from audio_lm.sweep.table import Floats

MAX_DEVIATION = 2.0
"""Largest standard deviation of a logarithm: a factor of 7; farther from all trials a prediction says nothing anyway."""

ROUNDING = 1e-12  # of a deviation, relative to the largest value


@dataclass(frozen=True)
class ValueScale:
    """Map of values to standardized ones and back."""

    center: float
    scale: float
    is_log: bool

    @classmethod
    def of(cls, values: Floats) -> Self:
        """Scale of values (N): in the logarithm if all are positive and the largest is over ten times the smallest."""
        is_log = is_on_log_scale(values)
        known = np.log(values) if is_log else values
        # Equal values have a deviation above 0 where their mean is rounded.
        is_constant = known.std() <= ROUNDING * np.abs(known).max()
        return cls(float(known.mean()), 1.0 if is_constant else float(known.std()), is_log)

    def forward(self, values: Floats) -> Floats:
        """Standardized values (N)."""
        return ((np.log(values) if self.is_log else values) - self.center) / self.scale

    def back(self, mean: Floats, deviation: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (N each) of values whose standardized ones are normal."""
        mean, deviation = mean * self.scale + self.center, deviation * self.scale
        if not self.is_log:
            return mean, deviation
        variance = np.minimum(deviation, MAX_DEVIATION) ** 2
        mean = np.exp(mean + variance / 2)
        return mean, mean * np.sqrt(np.expm1(variance))


def is_on_log_scale(values: Floats) -> bool:
    """True if values are positive and span more than an order of magnitude."""
    return bool(values.min() > 0 and values.max() > LOG_RATIO * values.min())
