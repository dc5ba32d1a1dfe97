"""Log-linear regression: value = floor + exp(linear function of shares).

Convex in the shares, so the best mixture of a weighted sum has no local optima. Source: data mixing laws,
arXiv:2403.16952, equation 5. The floor and the ridge penalty are those with the smallest leave-one-out error.
"""

from dataclasses import dataclass

import numpy as np

from audio_lm.sweep.regression.points import Points
from audio_lm.sweep.table import Floats

FLOORS = np.geomspace(0.03, 30, 7)  # distance of the floor from the smallest value, in ranges of the values
PENALTIES = np.geomspace(1e-4, 10, 11)  # of the ridge regression, times the number of trials


class LogLinear:
    """Family ``log_linear``."""

    name = "log_linear"

    def fit(self, points: Points, values: Floats) -> "LogLinearModel":
        """Fit by ridge regression of log(value - floor), for each floor and penalty."""
        columns = points.columns()
        center = columns.mean(axis=0)
        left, singular, right = np.linalg.svd(columns - center, full_matrices=False)
        best: tuple[float, LogLinearModel] | None = None
        for distance in FLOORS * (float(np.ptp(values)) or 1.0):
            floor = float(values.min()) - distance
            logs = np.log(values - floor)
            for penalty in PENALTIES * len(values):
                shrunk = singular**2 / (singular**2 + penalty)
                leverage = (left**2 * shrunk).sum(axis=1) + 1 / len(values)
                residuals = logs - logs.mean() - left @ (shrunk * (left.T @ logs))
                residuals /= np.maximum(1 - leverage, 1e-3)
                error = float(np.mean((residuals * (values - floor)) ** 2))
                if best is None or error < best[0]:
                    slopes = right.T @ (singular / (singular**2 + penalty) * (left.T @ logs))
                    spread = float(np.sqrt(np.mean(residuals**2)))
                    whiten = right.T / np.sqrt(singular**2 + penalty)
                    best = error, LogLinearModel(floor, logs.mean(), slopes, center, spread, whiten)
        assert best is not None, "there are floors and penalties"
        return best[1]


@dataclass(frozen=True)
class LogLinearModel:
    """Fitted log-linear function."""

    floor: float
    intercept: float
    slopes: Floats  # (K + E)
    center: Floats  # (K + E)
    spread: float  # of log(value - floor)
    whiten: Floats  # (K + E, rank): whitens the inputs of the ridge regression

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """Mean and standard deviation of a run (N each)."""
        inputs = points.columns() - self.center
        height = np.exp(np.clip(self.intercept + inputs @ self.slopes, -50, 50))
        leverage = ((inputs @ self.whiten) ** 2).sum(axis=1)
        return self.floor + height, height * self.spread * np.sqrt(1 + leverage)
