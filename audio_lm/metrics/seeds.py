"""Mean over runs with different seeds, and its 95 % t-interval.

The spread between seeds is that of training: initial weights and the order of examples. It is not that of the clips, which
``bootstrap`` measures; an interval over seeds says what another seed would give on the same clips.

Source: Student, "The probable error of a mean", Biometrika 1908.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class SeedMean:
    """Mean of one value per seed."""

    mean: float
    num_seeds: int
    half_width: float | None
    """Half of the width of the 95 % t-interval of the mean; None with a single seed or a value that is not finite."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """Low and high end of the interval."""
        return None if self.half_width is None else (self.mean - self.half_width, self.mean + self.half_width)

    @property
    def has_zero(self) -> bool:
        """True if 0 is in the interval, or there is none: as that of a difference, it may be noise."""
        return self.half_width is None or abs(self.mean) <= self.half_width


def mean_over_seeds(values: Sequence[float]) -> SeedMean:
    """Mean with the t-interval of n - 1 degrees of freedom.

    >>> found = mean_over_seeds([1.0, 2.0, 3.0])
    >>> found.mean, round(found.half_width, 3)  # 4.303 standard errors of 0.577
    (2.0, 2.484)
    """
    from scipy.stats import t  # takes half a second to import, and most commands compute no interval

    mean, num = float(np.mean(values)), len(values)
    if num < 2 or not math.isfinite(mean):
        return SeedMean(mean, num, None)
    error = float(np.std(values, ddof=1)) / math.sqrt(num)
    return SeedMean(mean, num, float(t.ppf((1 + CONFIDENCE) / 2, num - 1)) * error)
