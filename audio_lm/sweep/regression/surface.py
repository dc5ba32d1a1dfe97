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
from audio_lm.sweep.regression.points import Encoding, Integers, Points
from audio_lm.sweep.table import Floats, TrialTable

FAMILIES: tuple[Family, ...] = (GaussianProcess(), GradientBoosting(), LogLinear())
"""Families to choose from; the first is replaced only by one that is clearly better, see ``_choose``."""

REUSED = "reused"
"""Setting that is true for trials of an earlier sweep."""

NUM_FOLDS = 5
MAX_ERROR, NUM_ROUNDS = 3.0, 30  # of ``robust_spread``
MAX_LEFT_OUT = 40
"""Largest number of folds of ``leave_one_out``; with more mixtures several are left out together."""


@dataclass(frozen=True)
class LeftOut:
    """Predictions of values that were not part of the fit (N each)."""

    mean: Floats
    deviation: Floats


@dataclass(frozen=True)
class MetricSurface:
    """Fitted regression of one metric."""

    metric: str
    sign: float
    """1 if smaller values are better, -1 if larger ones are; families see values for which smaller is better."""

    encoding: Encoding
    rows: Integers  # (N) of the whole table
    trials: "_Trials"
    family: Family
    fitted: Model
    left_out: LeftOut  # by 5-fold cross-validation, smaller is better

    @property
    def values(self) -> Floats:
        """Values of the trials (N), smaller is better."""
        return self.trials.values

    @property
    def counted(self) -> Integers:
        """Trials (n) on which the rank correlation is computed: those of an earlier sweep only help to fit."""
        return self.trials.counted

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
        mixtures = self.trials.mixtures
        folds = _folds(mixtures, min(len(np.unique(mixtures)), MAX_LEFT_OUT))
        left_out = predict_left_out(self.family, self.trials.points, self.values, folds)
        return rank_correlation(left_out.mean[self.counted], self.values[self.counted])

    @cached_property
    def calibration(self) -> float:
        """Factor of the model's deviations with which they fit the errors on left-out mixtures."""
        return robust_spread((self.values - self.left_out.mean) / np.maximum(self.left_out.deviation, 1e-12))

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


@dataclass(frozen=True)
class MetricData:
    """A metric to be fitted."""

    metric: str
    rows: Integers
    """Trials with a value of the metric."""

    sign: float
    """1 if smaller values are better, -1 if larger ones are."""

    encoding: Encoding


def fit_surfaces(table: TrialTable, metrics: Sequence[MetricData], seed: int = 0) -> dict[str, MetricSurface]:
    """Fit every family to every metric, and take the family that ranks left-out mixtures best."""
    data = [_Trials.of(table, one, seed) for one in metrics]
    correlations = np.array([one.correlations for one in data]).reshape(-1, len(FAMILIES))
    chosen = _choose(correlations, [len(one.counted) for one in data])
    return {
        one.metric: trials.surface(one, at) for one, trials, at in zip(metrics, data, chosen, strict=True)
    }


@dataclass(frozen=True)
class _Trials:
    """Trials of one metric, and each family's predictions of left-out ones."""

    points: Points
    values: Floats  # (N), smaller is better
    mixtures: Integers
    counted: Integers
    left_out: Sequence[LeftOut]  # of each family

    @classmethod
    def of(cls, table: TrialTable, data: MetricData, seed: int) -> "_Trials":
        points = data.encoding.of_table(table).take(data.rows)
        values = data.sign * table.metrics[data.metric][data.rows]
        mixtures = number_mixtures(points)
        folds = _folds(mixtures, NUM_FOLDS, seed)
        left_out = [predict_left_out(family, points, values, folds) for family in FAMILIES]
        return cls(points, values, mixtures, _counted(table, data.rows, mixtures), left_out)

    @property
    def correlations(self) -> list[float]:
        """Rank correlation of each family on left-out mixtures."""
        values = self.values[self.counted]
        return [rank_correlation(one.mean[self.counted], values) for one in self.left_out]

    def surface(self, data: MetricData, at: int) -> MetricSurface:
        """Surface of a family, fitted to all trials."""
        return MetricSurface(
            data.metric,
            data.sign,
            data.encoding,
            data.rows,
            self,
            FAMILIES[at],
            FAMILIES[at].fit(self.points, self.values),
            self.left_out[at],
        )


def _choose(correlations: Floats, num_trials: Sequence[int]) -> list[int]:
    """Place of the family of each metric: the first one, unless another is clearly better.

    With few trials the best of several correlations is often the luckiest. So a family's correlation is averaged with the
    mean of its correlations over all metrics, and another than the first is taken only if it is better by more than a
    standard error. Source: shrinkage towards the mean, Efron and Morris 1975; one-standard-error rule, Breiman et al. 1984.

    Args:
        correlations: of each metric and family (M, F).
        num_trials: of each metric.
    """
    chosen = []
    for own, count in zip(correlations, num_trials, strict=True):
        shrunk = (own + correlations.mean(axis=0)) / 2
        shrunk[0] += (1 - own[0] ** 2) / np.sqrt(max(count - 1, 1))
        chosen.append(int(np.argmax(shrunk)))
    return chosen


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


def robust_spread(errors: Floats) -> float:
    """Root mean square of errors, of which one counts as three times the result at most.

    Otherwise a single mixture at a corner, far from all others, would widen the intervals everywhere.
    Source: Huber 1964, proposal 2.
    """
    spread = float(np.sqrt(np.mean(errors**2)))
    for _ in range(NUM_ROUNDS):
        spread = float(np.sqrt(np.mean(np.minimum(np.abs(errors), MAX_ERROR * spread) ** 2)))
    return spread


def number_mixtures(points: Points) -> Integers:
    """Number of each trial's mixture (N); runs with the same shares and settings have the same one."""
    return np.unique(points.columns().round(6), axis=0, return_inverse=True)[1].reshape(-1)


def _folds(mixtures: Integers, count: int, seed: int = 0) -> list[Integers]:
    """Rows of each fold; a mixture is in one fold only."""
    order = np.random.default_rng(seed).permutation(np.unique(mixtures))
    return [np.flatnonzero(np.isin(mixtures, order[fold::count])) for fold in range(count)]
