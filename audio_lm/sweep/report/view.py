"""View of a fit for its report: the objective beside the metrics, as one more surface.

Shapes: N mixtures, K tasks or groups.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audio_lm.sweep.fit import SweepFit
from audio_lm.sweep.noise import NAMED_SPREADS
from audio_lm.sweep.regression.surface import REUSED
from audio_lm.sweep.regression.value_scale import is_on_log_scale
from audio_lm.sweep.table import Floats

OBJECTIVE = "objective"  # no name of a metric: those have a slash
DIGITS_WITHOUT_NOISE = 4
MAX_DIGITS = 8


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
        return (OBJECTIVE, *self.metrics) if len(self.fit.objective.weights) > 1 else self.metrics

    @property
    def settings(self) -> Mapping[str, Any]:
        """Values of the varied dot-keys at which everything is predicted."""
        return {key: value for key, value in self.fit.settings.items() if key != REUSED}

    def predict(self, name: str, shares: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of one run (N each) of a metric at shares (N, K)."""
        if name == OBJECTIVE:
            return self.fit.predict_objective(shares)
        return self.fit.surfaces[name].predict(shares)

    def measured(self, name: str) -> Floats:
        """Value of each trial (N); NaN where it was not measured."""
        return self.fit.measured_objective if name == OBJECTIVE else self.fit.table.metrics[name]

    def is_min(self, name: str) -> bool:
        """True if smaller values are better."""
        return name == OBJECTIVE or self.fit.metrics[name].direction == "min"

    def is_log(self, name: str) -> bool:
        """True if the trials' values span more than an order of magnitude, so that pictures need a logarithmic axis."""
        measured = self.measured(name)
        return is_on_log_scale(measured[np.isfinite(measured)])

    def cost(self, name: str, values: Floats) -> Floats:
        """Values with the sign reversed where larger ones are better: smaller is better."""
        return values if self.is_min(name) else -values

    def noise(self, name: str) -> float:
        """Standard deviation of one run; NaN if no mixture was repeated."""
        noise = self.fit.objective_noise if name == OBJECTIVE else self.fit.noise.get(name)
        return math.nan if noise is None else noise

    def threshold(self, name: str) -> float:
        """Smallest difference that may be named; infinite if the noise is not known."""
        noise = self.noise(name)
        return NAMED_SPREADS * noise if math.isfinite(noise) else math.inf

    def title(self, name: str) -> str:
        """Name of a metric with its better direction."""
        return f"{name} ({'smaller' if self.is_min(name) else 'larger'} is better)"

    def digits(self, name: str) -> int:
        """Decimal places to print: down to the noise."""
        noise = self.noise(name)
        if not noise > 0:
            return DIGITS_WITHOUT_NOISE
        return min(MAX_DIGITS, max(0, -math.floor(math.log10(noise))))

    def text(self, name: str, value: float) -> str:
        """Value of a metric with the decimal places that the noise allows; empty for NaN."""
        return "" if math.isnan(value) else f"{value:.{self.digits(name)}f}"

    def trials_of(self, purposes: Sequence[str]) -> list[int]:
        """Rows of the trials with one of these purposes."""
        return [row for row, purpose in enumerate(self.fit.table.purposes) if purpose in purposes]
