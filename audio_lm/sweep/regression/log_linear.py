"""Log-linear regression: value = floor + exp(linear function of shares).

Convex in the shares, so the best mixture of a weighted sum has no local optima. Source: data mixing laws,
arXiv:2403.16952, equation 5. The floor and the ridge penalty are those with the smallest leave-one-out error.
"""

from dataclasses import dataclass

import numpy as np

from audio_lm.sweep.regression.points import Points
from audio_lm.sweep.table import Floats

FLOORS = (0.01, 100.0)  # distance of the floor from the smallest value, in ranges of the values
NUM_FLOORS = 9  # in the whole interval, and again around the best one
PENALTIES = np.geomspace(1e-4, 10, 11)  # of the ridge regression, times the number of trials


class LogLinear:
    """Family ``log_linear``."""

    name = "log_linear"

    def fit(self, points: Points, values: Floats) -> "LogLinearModel":
        """Fit by ridge regression of log(value - floor), for each floor and penalty."""
        ridge = _Ridge(points.columns())
        scale = float(np.ptp(values)) or 1.0
        low, high = FLOORS
        for _ in range(2):
            distances = np.geomspace(low, high, NUM_FLOORS)
            fits = [_best_penalty(ridge, values, float(values.min()) - scale * one) for one in distances]
            at = int(np.argmin([error for error, _ in fits]))
            low, high = distances[max(at - 1, 0)], distances[min(at + 1, NUM_FLOORS - 1)]
        return fits[at][1]


class _Ridge:
    """Ridge regression on inputs (N, E) for any penalty."""

    def __init__(self, inputs: Floats) -> None:
        self.center = inputs.mean(axis=0)
        self.left, self.singular, self.right = np.linalg.svd(inputs - self.center, full_matrices=False)

    def slopes(self, values: Floats, penalty: float) -> Floats:
        """Slopes (E) of values (N)."""
        return self.right.T @ (self.singular / (self.singular**2 + penalty) * (self.left.T @ values))

    def left_out_errors(self, values: Floats, penalty: float) -> Floats:
        """Error (N) of each value, predicted from all others."""
        shrunk = self.singular**2 / (self.singular**2 + penalty)
        leverage = (self.left**2 * shrunk).sum(axis=1) + 1 / len(values)
        errors = values - values.mean() - self.left @ (shrunk * (self.left.T @ values))
        return errors / np.maximum(1 - leverage, 1e-3)

    def whiten(self, penalty: float) -> Floats:
        """Matrix (E, rank) that whitens inputs."""
        return self.right.T / np.sqrt(self.singular**2 + penalty)


def _best_penalty(ridge: _Ridge, values: Floats, floor: float) -> tuple[float, "LogLinearModel"]:
    """Fit with the penalty that has the smallest leave-one-out error, and that error."""
    logs = np.log(values - floor)
    errors = [ridge.left_out_errors(logs, penalty) for penalty in PENALTIES * len(values)]
    squares = [float(np.mean((error * (values - floor)) ** 2)) for error in errors]
    at = int(np.argmin(squares))
    penalty = float(PENALTIES[at]) * len(values)
    model = LogLinearModel(
        floor,
        float(logs.mean()),
        ridge.slopes(logs, penalty),
        ridge.center,
        float(np.sqrt(np.mean(errors[at] ** 2))),
        ridge.whiten(penalty),
    )
    return squares[at], model


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
