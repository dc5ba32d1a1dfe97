"""Fit of a sweep: a surface per watched metric, how far it can be trusted, and the mixture it recommends.

Works on any table of shares and metrics, from a ledger or from ``ratios.csv`` and ``metrics.csv``. The objective is the
weighted mean of the metrics in their own units, with the sign of those whose larger values are better reversed: smaller
is better. Each metric has its own regression; the objective is never fitted itself.

Shapes: N trials, K tasks or groups.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.table import Floats, TrialTable

MIN_TRUST = 0.5
"""Rank correlation of the objective on left-out mixtures, below which nothing is recommended."""


class Surface(Protocol):
    """Regression of one metric on shares."""

    metric: str
    """Watched metric."""

    model: str
    """Name of the regression family, such as ``gp``."""

    rank_correlation: float
    """Spearman's correlation of predicted and measured values on mixtures left out of the fit, by 5-fold cross-validation."""

    leave_one_out: float
    """The same, with each mixture left out alone."""

    def predict(self, shares: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the metric (N each) at shares (N, K)."""
        ...


@dataclass(frozen=True)
class Recommendation:
    """Mixture with the best predicted objective."""

    shares: Floats
    """Shares of the varied part (K)."""

    objective: float
    """Predicted objective."""

    interval: tuple[float, float]
    """95 % interval of the objective."""

    per_metric: Mapping[str, tuple[float, float, float]]
    """Watched metric -> prediction and its 95 % interval."""


@dataclass(frozen=True)
class SweepFit:
    """Surfaces of a sweep's metrics and what follows from them."""

    table: TrialTable
    """Trials that were fitted."""

    metrics: Mapping[str, MetricConfig]
    """Watched metric -> direction and weight."""

    surfaces: Mapping[str, Surface]
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


def fit_table(
    table: TrialTable, metrics: Mapping[str, MetricConfig], bounds: Floats | None = None
) -> SweepFit:
    """Fit every metric, and find the mixture with the best objective within bounds.

    Raises:
        DataError: too few trials or no metric that was measured.
    """
    raise NotImplementedError("the regression follows in sweep/regression/")
