"""Random numbers whose ranges of values are disjoint between splits.

The range of a parameter is divided into stripes, and each stripe into disjoint intervals for train, validation and
test. Test clips therefore have parameters that never occur in training, but cover the same range, like unseen voices
in speech.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from audio_lm.common.rng import random_for

NUM_STRIPES = 8
RANGE_OF_SPLIT = {"train": (0.0, 0.58), "validation": (0.6, 0.78), "test": (0.8, 0.98)}

T = TypeVar("T")


class SplitRandom:
    """Random generator of one clip."""

    def __init__(self, split: str, *purpose: str | int) -> None:
        """Seed the generator; equal splits and purposes give equal numbers."""
        self.split = split
        self.rng = random_for(*purpose, split)
        self._low, self._high = RANGE_OF_SPLIT[split]

    def uniform(self, low: float, high: float) -> float:
        """Number between low and high, from this split's intervals.

        >>> 3.0 <= SplitRandom("test", 0).uniform(3.0, 4.0) < 4.0
        True
        """
        return low + (high - low) * float(self.uniforms(1)[0])

    def log_uniform(self, low: float, high: float) -> float:
        """Log-uniform ``uniform``; for frequencies and rates."""
        return float(np.exp(self.uniform(np.log(low), np.log(high))))

    def uniforms(self, num: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Numbers between 0 and 1, from this split's intervals."""
        stripes = np.floor(self.rng.random(num) * NUM_STRIPES)
        offset = self._low + (self._high - self._low) * self.rng.random(num)
        return (stripes + offset) / NUM_STRIPES

    def integer(self, low: int, high: int) -> int:
        """Integer from low to high inclusive, the same for all splits."""
        return int(self.rng.integers(low, high + 1))

    def choice(self, options: Sequence[T]) -> T:
        """One of the options; the same for all splits, because they share classes."""
        return options[int(self.rng.integers(len(options)))]

    def weighted_choice(self, options: Sequence[T], weights: Sequence[float]) -> T:
        """One of the options with the given weights, which need not sum to one."""
        cumulative = np.cumsum(weights)
        return options[int(np.searchsorted(cumulative, self.rng.random() * cumulative[-1], side="right"))]

    def choose_distinct(self, options: Sequence[T], num: int) -> list[T]:
        """Distinct options in random order."""
        return [options[int(i)] for i in self.rng.permutation(len(options))[:num]]

    def bernoulli(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)
