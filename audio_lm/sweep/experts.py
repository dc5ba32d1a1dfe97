"""Known functions of shares that help a regression: scores of experts mixed by shares.

An expert is a run on one task alone. Two mixtures of experts rank the mixtures of data well before any trial: their token
probabilities averaged by shares (arXiv:2502.15950), and their weights averaged by shares (arXiv:2602.04937). The first
needs each expert's log probabilities once; the second, like any cheaper study of the same mixtures, is a table of its own.

Shapes: N points, K tasks or groups, T tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from audio_lm.common.errors import DataError
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.fit import fit_table
from audio_lm.sweep.regression.surface import MetricSurface
from audio_lm.sweep.table import Floats, TrialTable

CHUNK = 256  # points whose mixed probabilities are in memory at a time


@dataclass(frozen=True)
class MixedProbabilities:
    """Loss of the mixture of experts' token probabilities."""

    log_probabilities: Floats
    """Log probability of each correct token by each expert (K, T)."""

    def __call__(self, shares: Floats) -> Floats:
        """Mean negative log probability (N) at shares (N, K)."""
        largest = self.log_probabilities.max(axis=0)
        scaled = np.exp(self.log_probabilities - largest)
        parts = [
            -(np.log(np.maximum(shares[start : start + CHUNK] @ scaled, 1e-300)) + largest).mean(axis=1)
            for start in range(0, len(shares), CHUNK)
        ]
        return np.concatenate(parts)


@dataclass(frozen=True)
class OtherSurface:
    """Prediction of a surface that was fitted to another, cheaper table."""

    surface: MetricSurface

    def __call__(self, shares: Floats) -> Floats:
        """Predicted metric (N) at shares (N, K)."""
        return self.surface.predict(shares)[0]


def features_from(
    other: TrialTable, tasks: Sequence[str], metrics: Mapping[str, MetricConfig]
) -> dict[str, OtherSurface]:
    """Feature of each metric that another table has: merged experts, or smaller models, on any mixtures of the same tasks.

    Raises:
        DataError: the table has other tasks, or no metric of the sweep.
    """
    if set(other.tasks) != set(tasks):
        raise DataError(
            f"the table of features has the tasks {list(other.tasks)} -- expected those of the sweep, {list(tasks)}"
        )
    common = {name: replace(config, weight=1.0) for name, config in metrics.items() if name in other.metrics}
    if not common:
        raise DataError(
            f"the table of features has the metrics {list(other.metrics)} -- expected one of the sweep's, {list(metrics)}"
        )
    order = [other.tasks.index(task) for task in tasks]
    ordered = replace(other, tasks=tuple(tasks), shares=other.shares[:, order], settings={})
    fit = fit_table(ordered, common)
    return {name: OtherSurface(surface) for name, surface in fit.surfaces.items()}
