"""Random numbers that differ between splits by value, not only by seed.

A range of a parameter is cut into stripes, and each stripe is shared out among
train, validation and test. So a test clip is made of parameters that training
never drew, all over the same range: what unseen voices are to speech.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from audio_lm.common.runtime import random_for

NUM_STRIPES = 8
RANGE_OF_SPLIT = {"train": (0.0, 0.58), "validation": (0.6, 0.78), "test": (0.8, 0.98)}

T = TypeVar("T")


class SplitRandom:
    """The random numbers of one clip."""

    def __init__(self, split: str, *purpose: str | int) -> None:
        """Draw for a split; equal purposes give equal numbers."""
        self.split = split
        self.rng = random_for(*purpose, split)
        self._low, self._high = RANGE_OF_SPLIT[split]

    def uniform(self, low: float, high: float) -> float:
        """A number that only this split draws.

        >>> 3.0 <= SplitRandom("test", 0).uniform(3.0, 4.0) < 4.0
        True
        """
        return low + (high - low) * float(self.uniforms(1)[0])

    def log_uniform(self, low: float, high: float) -> float:
        """The same, spread evenly over the logarithm; for frequencies and rates."""
        return float(np.exp(self.uniform(np.log(low), np.log(high))))

    def uniforms(self, num: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """So many numbers from 0 to 1 that only this split draws."""
        stripes = np.floor(self.rng.random(num) * NUM_STRIPES)
        share = self._low + (self._high - self._low) * self.rng.random(num)
        return (stripes + share) / NUM_STRIPES

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included; the same for all splits."""
        return int(self.rng.integers(low, high + 1))

    def choice(self, options: Sequence[T]) -> T:
        """One of them; the same for all splits, because classes are shared."""
        return options[int(self.rng.integers(len(options)))]

    def weighted_choice(self, options: Sequence[T], shares: Sequence[float]) -> T:
        """One of them, as often as its share says; shares need not sum to one."""
        below = np.cumsum(shares)
        return options[int(np.searchsorted(below, self.rng.random() * below[-1], side="right"))]

    def choose_distinct(self, options: Sequence[T], num: int) -> list[T]:
        """So many different ones, in random order."""
        return [options[int(i)] for i in self.rng.permutation(len(options))[:num]]

    def bernoulli(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)
