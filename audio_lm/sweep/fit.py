"""Fit of a sweep: a surface per watched metric, how far it can be trusted, and the mixture it recommends.

Works on any table of shares and metrics, from a ledger or from ``ratios.csv`` and ``metrics.csv``. The objective is the
weighted mean of the metrics in their own units, with the sign of those whose larger values are better reversed: smaller
is better. Each metric has its own regression; the objective is never fitted itself.

Shapes: N trials, K tasks or groups.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audio_lm.common.errors import DataError, unknown
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.noise import mixtures_of, noise_of, repeats_of, spread_of, spread_of_another_seed
from audio_lm.sweep.objective import Objective, sign_of
from audio_lm.sweep.optimum import Pull, find_optimum
from audio_lm.sweep.regression.points import Encoding, Integers, ShareFeature
from audio_lm.sweep.regression.surface import REUSED, MetricData, MetricSurface, fit_surfaces
from audio_lm.sweep.simplex import check_bounds
from audio_lm.sweep.table import Floats, TrialTable

MIN_MIXTURES = 6
"""Different mixtures that a fit needs: one more than the folds of the cross-validation."""

Z_95 = 1.96  # standard deviations of a 95 % interval
MIN_TRUST = 0.5
"""Rank correlation of the objective on left-out mixtures, below which nothing is recommended."""


@dataclass(frozen=True)
class Recommendation:
    """Mixture with the best predicted objective."""

    shares: Floats
    """Shares of the varied part (K)."""

    objective: float
    """Predicted objective."""

    interval: tuple[float, float]
    """95 % interval of the objective of a run with any seed."""

    per_metric: Mapping[str, tuple[float, float, float]]
    """Watched metric -> prediction, and 95 % interval of a run with any seed."""


@dataclass(frozen=True)
class SweepFit:
    """Surfaces of a sweep's metrics and what follows from them."""

    table: TrialTable
    """Trials that were fitted."""

    metrics: Mapping[str, MetricConfig]
    """Watched metric -> direction and weight."""

    surfaces: Mapping[str, MetricSurface]
    """Watched metric -> its regression; a metric that could not be fitted is missing here and named in ``left_out``."""

    bounds: Floats
    """Smallest and largest share of each task, of the varied part (K, 2)."""

    noise: Mapping[str, float]
    """Metric -> standard deviation of one run, from mixtures that were run with several seeds; empty if none was."""

    trust: float
    """Rank correlation of the objective on left-out mixtures; no recommendation below ``MIN_TRUST``."""

    best: Recommendation | None
    """Recommended mixture."""

    why_none: str = ""
    """Reason why nothing is recommended; empty if something is."""

    left_out: tuple[str, ...] = ()
    """Sentences about trials and metrics that are not part of the fit."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values of the varied dot-keys at which the surfaces are predicted: the best ones."""

    prior: Floats | None = None
    """Shares of the recipe's own weights (K)."""

    @property
    def objective(self) -> Objective:
        """Weighted mean of the fitted metrics."""
        return Objective.of({name: self.metrics[name] for name in self.surfaces})

    def predict_objective(self, shares: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of one run (N each) of the objective at shares (N, K)."""
        return self.objective.predict(self.surfaces, np.atleast_2d(shares))

    @property
    def measured_objective(self) -> Floats:
        """Objective of each trial (N); NaN where a metric was not measured."""
        return self.objective.measured(self.table.metrics)

    @property
    def objective_noise(self) -> float | None:
        """Standard deviation of one run of the objective; None without repeats."""
        return spread_of(self.measured_objective, repeats_of(self.table))


def fit_table(
    table: TrialTable,
    metrics: Mapping[str, MetricConfig],
    bounds: Floats | None = None,
    *,
    prior: Floats | None = None,
    features: Mapping[str, ShareFeature] | None = None,
    seed: int = 0,
) -> SweepFit:
    """Fit every metric, and find the mixture with the best objective within bounds.

    Args:
        bounds: smallest and largest share of each task (K, 2).
        prior: shares of the recipe's own weights (K), towards which the optimum is pulled by as much as one run's noise.
        features: metric -> known function of shares that helps its regression, see ``sweep.experts``.

    Raises:
        DataError: an unknown metric, too few different mixtures, or bounds that leave no mixture.
    """
    bounds = check_bounds(bounds, table.tasks)
    _check(table, metrics)
    data: list[MetricData] = []
    left_out: list[str] = []
    for name, config in metrics.items():
        rows, why = _rows_to_fit(table, name)
        left_out += [why] if why else []
        if len(rows):
            encoding = Encoding.of(table, (features or {}).get(name))
            data.append(MetricData(name, rows, sign_of(config), encoding))
    surfaces = fit_surfaces(table, data, seed)
    objective = Objective.of({name: metrics[name] for name in surfaces})
    pull = _pull(objective, table, prior)
    surfaces, shares, settings = _best_settings(objective, surfaces, table, bounds, pull, seed)
    trust = objective.trust(surfaces)
    best = _recommend(objective, surfaces, table, shares) if trust >= MIN_TRUST else None
    why_none = (
        ""
        if best
        else (
            f"the regression ranks left-out mixtures with a correlation of {trust:.2f} only; {MIN_TRUST} is needed; "
            f"run more trials (`audio-lm sweep extend`), longer ones, or less noisy metrics"
        )
    )
    return SweepFit(
        table,
        metrics,
        surfaces,
        bounds,
        noise_of(table),
        trust,
        best,
        why_none,
        tuple(left_out),
        settings,
        prior,
    )


def _check(table: TrialTable, metrics: Mapping[str, MetricConfig]) -> None:
    for name in metrics:
        if name not in table.metrics:
            raise DataError(unknown("metric", name, table.metrics, see="the header of metrics.csv"))
    count = len(np.unique(mixtures_of(table)))
    if count < MIN_MIXTURES:
        raise DataError(
            f"{len(table)} trials with {count} different mixtures -- expected at least {MIN_MIXTURES} to fit a surface -- "
            f"run more trials"
        )
    if len(table.tasks) < 2:
        raise DataError(
            f"shares of {list(table.tasks)} only -- expected at least two tasks whose shares differ"
        )


def _rows_to_fit(table: TrialTable, metric: str) -> tuple[Integers, str]:
    """Trials with a value of a metric, none if they cannot be fitted; and a sentence about those left out."""
    values = table.metrics[metric]
    rows = np.flatnonzero(np.isfinite(values))
    count = len(np.unique(mixtures_of(table)[rows]))
    if count < MIN_MIXTURES:
        return rows[
            :0
        ], f"{metric} is not fitted: it was measured for {count} mixtures, {MIN_MIXTURES} are needed"
    if np.ptp(values[rows]) == 0:
        return rows[:0], f"{metric} is not fitted: it is {values[rows[0]]:g} in all trials"
    missing = [run for run, value in zip(table.runs, values, strict=True) if not np.isfinite(value)]
    return rows, f"{metric} is missing in {len(missing)} trials: {', '.join(missing)}" if missing else ""


def _pull(objective: Objective, table: TrialTable, prior: Floats | None) -> Pull | None:
    noise = spread_of(objective.measured(table.metrics), repeats_of(table))
    return None if prior is None or noise is None else Pull(prior, noise)


def _best_settings(
    objective: Objective,
    surfaces: dict[str, MetricSurface],
    table: TrialTable,
    bounds: Floats,
    pull: Pull | None,
    seed: int,
) -> tuple[dict[str, MetricSurface], Floats, dict[str, Any]]:
    """Surfaces at the settings with the best optimum, its shares (K), and the settings."""
    rows = {tuple(map(str, values)): values for values in zip(*table.settings.values(), strict=True)}
    found = []
    for values in rows.values() or [()]:
        settings = dict(zip(table.settings, values, strict=True))
        if settings.get(REUSED):
            continue
        sliced = {name: surface.at(settings) for name, surface in surfaces.items()}
        shares = find_optimum(objective, sliced, bounds, centers=table.shares, pull=pull, seed=seed)
        found.append((float(objective.predict(sliced, shares[None])[0][0]), sliced, shares, settings))
    _, sliced, shares, settings = min(found, key=lambda one: one[0])
    return sliced, shares, settings


def _recommend(
    objective: Objective, surfaces: Mapping[str, MetricSurface], table: TrialTable, shares: Floats
) -> Recommendation:
    (mean,), (deviation,) = objective.predict(surfaces, shares[None])
    spread = spread_of_another_seed(table, objective.measured(table.metrics))
    per_metric = {}
    for name, surface in surfaces.items():
        (value,), (own,) = surface.predict(shares[None])
        per_metric[name] = (
            float(value),
            *_interval(value, own, spread_of_another_seed(table, table.metrics[name])),
        )
    return Recommendation(shares, float(mean), _interval(mean, deviation, spread), per_metric)


def _interval(mean: float, *deviations: float) -> tuple[float, float]:
    half_width = Z_95 * math.hypot(*deviations)
    return float(mean - half_width), float(mean + half_width)
