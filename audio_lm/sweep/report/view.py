"""View of a fit for its report: the objective beside the metrics, as one more surface.

Shapes: N mixtures, K tasks or groups.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from audio_lm.sweep.fit import SweepFit
from audio_lm.sweep.table import Floats

OBJECTIVE = "objective"  # no name of a metric: those have a slash
NOISE_FACTOR = 2.0
"""Differences under this multiple of the standard deviation of one run are not named."""


@dataclass(frozen=True)
class FitView:
    """Fit of a sweep; a metric is addressed by its name, and the objective by ``objective``."""

    fit: SweepFit

    @property
    def tasks(self) -> tuple[str, ...]:
        """Varied tasks or groups (K)."""
        return self.fit.table.tasks

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that were fitted, those with the largest weights first."""
        return tuple(sorted(self.fit.surfaces, key=lambda name: -self.fit.metrics[name].weight))

    @property
    def names(self) -> tuple[str, ...]:
        """Metrics that were fitted, after the objective if it is made of more than one."""
        return (OBJECTIVE, *self.metrics) if len(self._parts) > 1 else self.metrics

    @cached_property
    def _parts(self) -> dict[str, float]:
        """Metric of the objective -> its factor: its part of all weights, negative if larger values are better."""
        weights = {name: self.fit.metrics[name].weight for name in self.metrics}
        total = sum(weights.values())
        return {
            name: (1 if self.is_min(name) else -1) * weight / total
            for name, weight in weights.items()
            if weight > 0
        }

    def predict(self, name: str, shares: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (N each) of a metric at shares (N, K); errors of metrics count as independent."""
        if name != OBJECTIVE:
            return self.fit.surfaces[name].predict(shares)
        mean, variance = np.zeros(len(shares)), np.zeros(len(shares))
        for metric, factor in self._parts.items():
            one, deviation = self.fit.surfaces[metric].predict(shares)
            mean, variance = mean + factor * one, variance + (factor * deviation) ** 2
        return mean, np.sqrt(variance)

    def measured(self, name: str) -> Floats:
        """Value of each trial (N); NaN where it was not measured."""
        if name != OBJECTIVE:
            return self.fit.table.metrics[name]
        parts = [factor * self.fit.table.metrics[metric] for metric, factor in self._parts.items()]
        return np.sum(parts, axis=0)

    def is_min(self, name: str) -> bool:
        """True if smaller values are better."""
        return name == OBJECTIVE or self.fit.metrics[name].direction == "min"

    def cost(self, name: str, values: Floats) -> Floats:
        """Values with the sign reversed where larger ones are better: smaller is better."""
        return values if self.is_min(name) else -values

    def noise(self, name: str) -> float:
        """Standard deviation of one run; NaN if no mixture was repeated."""
        noise = self.fit.noise
        if name != OBJECTIVE or name in noise:
            return noise.get(name, math.nan)
        return math.hypot(*(factor * noise.get(metric, math.nan) for metric, factor in self._parts.items()))

    def threshold(self, name: str) -> float:
        """Smallest difference that may be named; infinite if the noise is not known."""
        noise = self.noise(name)
        return NOISE_FACTOR * noise if math.isfinite(noise) else math.inf

    def title(self, name: str) -> str:
        """Name of a metric with its better direction."""
        return f"{name} ({'smaller' if self.is_min(name) else 'larger'} is better)"

    def trials_of(self, purposes: Sequence[str]) -> list[int]:
        """Rows of the trials with one of these purposes."""
        return [row for row, purpose in enumerate(self.fit.table.purposes) if purpose in purposes]
