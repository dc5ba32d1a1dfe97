"""Objective of a sweep: weighted mean of its metrics, smaller is better; each metric is predicted by its own surface.

Shapes: N trials or points, K tasks or groups, M metrics with a weight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from audio_lm.common.errors import DataError
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.regression.points import Integers
from audio_lm.sweep.regression.surface import MetricSurface, rank_correlation
from audio_lm.sweep.table import Floats

SHRINKAGE = 0.1
"""Weight of independence in the correlation of the metrics' errors, which is estimated from few trials."""


def sign_of(config: MetricConfig) -> float:
    """1 if smaller values are better, -1 if larger ones are."""
    return 1.0 if config.direction == "min" else -1.0


@dataclass(frozen=True)
class Objective:
    """Weighted mean of metrics in their own units; the sign of those whose larger values are better is reversed."""

    weights: Mapping[str, float]
    """Metric -> weight with its sign; absolute values sum to one. Metrics that are only watched are missing."""

    @classmethod
    def of(cls, metrics: Mapping[str, MetricConfig]) -> Self:
        """Objective of watched metrics.

        Raises:
            DataError: no metric has a weight.
        """
        total = sum(config.weight for config in metrics.values())
        if not total > 0:
            raise DataError(
                f"metrics {list(metrics)}: all weights are 0 -- expected an objective -- give one metric a weight"
            )
        return cls(
            {
                name: sign_of(config) * config.weight / total
                for name, config in metrics.items()
                if config.weight > 0
            }
        )

    def value(self, values: Mapping[str, float]) -> float | None:
        """Objective of one trial; None if one of its metrics was not measured.

        >>> Objective.of({"wer": MetricConfig("min"), "acc": MetricConfig("max")}).value({"wer": 0.2, "acc": 0.9})
        -0.35
        """
        if not self.weights.keys() <= values.keys():
            return None
        return sum(weight * values[name] for name, weight in self.weights.items())

    def measured(self, values: Mapping[str, Floats]) -> Floats:
        """Objective of measured metrics (N); NaN where one of them is."""
        return np.sum([weight * values[name] for name, weight in self.weights.items()], axis=0)

    def predict(self, surfaces: Mapping[str, MetricSurface], shares: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of one run (N each) at shares (N, K).

        Errors of metrics that are wrong together on left-out mixtures do not cancel in the deviation.
        """
        predicted = [surfaces[name].predict(shares) for name in self.weights]
        mean = np.sum(
            [weight * one[0] for weight, one in zip(self.weights.values(), predicted, strict=True)], axis=0
        )
        scaled = np.stack(
            [abs(weight) * one[1] for weight, one in zip(self.weights.values(), predicted, strict=True)],
            axis=1,
        )
        correlation = _error_correlation([surfaces[name] for name in self.weights])
        return mean, np.sqrt(np.maximum(np.einsum("nm,mk,nk->n", scaled, correlation, scaled), 0))

    def left_out(self, surfaces: Mapping[str, MetricSurface]) -> tuple[Floats, Floats]:
        """Objective of left-out trials (N each): from predicted metrics, and as measured."""
        used = [surfaces[name] for name in self.weights]
        rows = np.intersect1d(_common_rows(used), used[0].rows[used[0].counted])
        predicted, measured = np.zeros(len(rows)), np.zeros(len(rows))
        for name, weight in self.weights.items():
            surface = surfaces[name]
            at = np.searchsorted(surface.rows, rows)
            predicted += abs(weight) * surface.left_out.mean[at]
            measured += abs(weight) * surface.values[at]
        return predicted, measured

    def trust(self, surfaces: Mapping[str, MetricSurface]) -> float:
        """Rank correlation of the objective on left-out trials."""
        return rank_correlation(*self.left_out(surfaces))


def _common_rows(surfaces: Sequence[MetricSurface]) -> Integers:
    rows = surfaces[0].rows
    for surface in surfaces[1:]:
        rows = np.intersect1d(rows, surface.rows)
    return rows


def _error_correlation(surfaces: Sequence[MetricSurface]) -> Floats:
    """Correlation of the metrics' errors on left-out trials (M, M), in values of which smaller ones are better."""
    rows = _common_rows(surfaces)
    if len(rows) < 3:
        return np.ones((len(surfaces), len(surfaces)))
    errors = np.stack([one.residuals[np.searchsorted(one.rows, rows)] for one in surfaces], axis=1)
    scale = np.sqrt(np.mean(errors**2, axis=0))
    errors = errors / np.where(scale > 0, scale, 1.0)
    return (1 - SHRINKAGE) * errors.T @ errors / len(rows) + SHRINKAGE * np.eye(len(surfaces))
