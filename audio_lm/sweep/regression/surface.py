"""Surface of a metric: the regression family that ranks left-out mixtures best, and its rank correlation.

Runs of one mixture (repeats) are left out together, otherwise a repeat would be predicted from its twin.

Shapes: N trials, K tasks or groups, E further columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from audio_lm.sweep.regression.boosting import GradientBoosting
from audio_lm.sweep.regression.family import Family, Model
from audio_lm.sweep.regression.gp import GaussianProcess
from audio_lm.sweep.regression.log_linear import LogLinear
from audio_lm.sweep.regression.points import Encoding, Points
from audio_lm.sweep.table import Floats, TrialTable

FAMILIES: tuple[Family, ...] = (GaussianProcess(), GradientBoosting(), LogLinear())
"""Families to choose from; the first is replaced only by one that is clearly better, see ``_choose``."""

REUSED = "reused"
"""Setting that is true for trials of an earlier sweep."""

NUM_FOLDS = 5
MAX_LEFT_OUT = 40
"""Largest number of folds of ``leave_one_out``; with more mixtures several are left out together."""

Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class LeftOut:
    """Predictions of values that were not part of the fit (N each)."""

    mean: Floats
    deviation: Floats


@dataclass(frozen=True)
class MetricSurface:
    """Fitted regression of one metric; see ``sweep.fit.Surface``."""

    metric: str
    family: Family
    sign: float
    """1 if smaller values are better, -1 if larger ones are; families see values for which smaller is better."""

    encoding: Encoding
    points: Points
    values: Floats  # (N), smaller is better
    mixtures: Integers  # (N), equal for runs of one mixture
    rows: Integers  # (N) of the whole table
    left_out: LeftOut  # by 5-fold cross-validation, smaller is better
    fitted: Model
    counted: Integers
    """Trials (n) on which the rank correlation is computed: those of an earlier sweep only help to fit."""

    @property
    def model(self) -> str:
        """Name of the regression family."""
        return self.family.name

    @cached_property
    def rank_correlation(self) -> float:
        """Spearman's correlation of predicted and measured values by 5-fold cross-validation."""
        return rank_correlation(self.left_out.mean[self.counted], self.values[self.counted])

    @cached_property
    def leave_one_out(self) -> float:
        """Spearman's correlation of predicted and measured values, with each mixture left out alone."""
        count = min(len(np.unique(self.mixtures)), MAX_LEFT_OUT)
        left_out = predict_left_out(self.family, self.points, self.values, _folds(self.mixtures, count))
        return rank_correlation(left_out.mean[self.counted], self.values[self.counted])

    @cached_property
    def calibration(self) -> float:
        """Factor of the model's deviations with which they fit the errors on left-out mixtures."""
        errors = (self.values - self.left_out.mean) / np.maximum(self.left_out.deviation, 1e-12)
        return float(np.sqrt(np.mean(errors**2)))

    @property
    def residuals(self) -> Floats:
        """Errors on left-out mixtures in deviations (N), for values whose smaller ones are better."""
        deviation = np.maximum(self.left_out.deviation * self.calibration, 1e-12)
        return (self.values - self.left_out.mean) / deviation

    def predict(self, shares: Floats) -> tuple[Floats, Floats]:
        """Mean of the metric and standard deviation of one run (N each) at shares (N, K)."""
        mean, deviation = self.fitted.predict(self.encoding.of_shares(np.atleast_2d(shares)))
        return self.sign * mean, deviation * self.calibration

    def at(self, settings: dict[str, Any]) -> "MetricSurface":
        """Surface at given values of the varied dot-keys."""
        return replace(self, encoding=replace(self.encoding, fixed=settings))


def fit_surface(
    metric: str, table: TrialTable, rows: Integers, sign: float, encoding: Encoding, seed: int
) -> MetricSurface:
    """Fit every family, and take the one with the best 5-fold rank correlation.

    Args:
        rows: trials with a value of the metric.
        sign: 1 if smaller values are better, -1 if larger ones are.
    """
    points = encoding.of_table(table).take(rows)
    values = sign * table.metrics[metric][rows]
    mixtures = number_mixtures(points)
    folds = _folds(mixtures, NUM_FOLDS, seed)
    counted = _counted(table, rows, mixtures)
    tried = [predict_left_out(family, points, values, folds) for family in FAMILIES]
    at = _choose([rank_correlation(one.mean[counted], values[counted]) for one in tried], len(counted))
    family, left_out = FAMILIES[at], tried[at]
    fitted = family.fit(points, values)
    return MetricSurface(
        metric, family, sign, encoding, points, values, mixtures, rows, left_out, fitted, counted
    )


def _choose(correlations: Sequence[float], num_trials: int) -> int:
    """Place of the family to take: the first, unless another is better by more than a standard error of its correlation.

    With few trials the best of several correlations is often the luckiest; a family that is right on average is kept.
    Source: one-standard-error rule, Breiman et al. 1984; standard error of a correlation, (1 - r^2) / sqrt(n - 1).
    """
    error = (1 - correlations[0] ** 2) / np.sqrt(max(num_trials - 1, 1))
    return int(np.argmax([correlations[0] + error, *correlations[1:]]))


def _counted(table: TrialTable, rows: Integers, mixtures: Integers) -> Integers:
    """Trials that are not from an earlier sweep; all if they are too few for a rank correlation."""
    reused = np.array(table.settings.get(REUSED, [False] * len(table)))[rows]
    new = np.flatnonzero(~reused)
    return new if len(np.unique(mixtures[new])) > NUM_FOLDS else np.arange(len(rows))


def predict_left_out(family: Family, points: Points, values: Floats, folds: Sequence[Integers]) -> LeftOut:
    """Predictions of each fold's trials from all others."""
    mean, deviation = np.empty(len(values)), np.empty(len(values))
    for rows in folds:
        others = np.setdiff1d(np.arange(len(values)), rows)
        model = family.fit(points.take(others), values[others])
        mean[rows], deviation[rows] = model.predict(points.take(rows))
    return LeftOut(mean, deviation)


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's rank correlation; 0 if either is constant."""
    from scipy.stats import spearmanr

    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one, other).statistic)


def number_mixtures(points: Points) -> Integers:
    """Number of each trial's mixture (N); runs with the same shares and settings have the same one."""
    return np.unique(points.columns().round(6), axis=0, return_inverse=True)[1].reshape(-1)


def _folds(mixtures: Integers, count: int, seed: int = 0) -> list[Integers]:
    """Rows of each fold; a mixture is in one fold only."""
    order = np.random.default_rng(seed).permutation(np.unique(mixtures))
    return [np.flatnonzero(np.isin(mixtures, order[fold::count])) for fold in range(count)]
