"""Measure how far common random numbers reduce the variance of a difference between two mixtures.

Two mixtures are each trained with several seeds. Trials with the same seed share initial weights, and data order where their
shares agree: their differences are the paired ones. Differences of trials with other seeds are those that free seeds would
give. Both have the same mean, the effect of the mixture; only their variances differ.

Shapes: S seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from audio_lm.common.errors import DataError
from audio_lm.common.rng import random_for
from audio_lm.sweep.definition import Sweep
from audio_lm.sweep.design import reference_points
from audio_lm.sweep.ledger import LedgerState
from audio_lm.sweep.table import Floats
from audio_lm.sweep.trial import Trial

MIN_PAIRS = 6
NUM_RESAMPLES = 2000
COVERAGE = 0.95


@dataclass(frozen=True)
class PairedVariance:
    """Variances of the difference of one metric between two mixtures."""

    metric: str
    num_pairs: int
    effect: float
    """Mean of the paired differences."""

    paired: float
    """Variance of differences of trials with the same seed."""

    free: float
    """Variance of differences of trials with different seeds: the sum of the variances of the two mixtures."""

    ratio: float
    """``paired`` by ``free``; below 1, common random numbers help."""

    interval: tuple[float, float]
    """95 % interval of the ratio, over resampled seeds."""

    correlation: float
    """Of the two mixtures' values over the seeds."""

    @property
    def sentence(self) -> str:
        """Result in words."""
        low, high = self.interval
        return (
            f"{self.metric}: variance of a difference {self.paired:.3g} with common random numbers, {self.free:.3g} with free "
            f"seeds, ratio {self.ratio:.2f} ({low:.2f} to {high:.2f}) over {self.num_pairs} pairs; correlation "
            f"{self.correlation:.2f}, effect {self.effect:+.3g}"
        )


def paired_trials(sweep: Sweep, num_seeds: int) -> list[Trial]:
    """Two mixtures of a sweep, uniform and the first reference that differs from it, with several seeds each.

    Raises:
        DataError: the sweep varies no shares, or too few seeds for a variance.
    """
    if sweep.shares is None:
        raise DataError(
            f"sweep {sweep.name} varies no shares -- expected two mixtures to compare -- add vary.shares to its file"
        )
    if num_seeds < MIN_PAIRS:
        raise DataError(f"{num_seeds} seeds -- expected {MIN_PAIRS} or more, for a variance -- raise --seeds")
    points = reference_points(sweep)
    first = points["uniform"]
    second = next(points[name] for name in ("recipe", "proportional", "bad") if points[name] != first)
    return [
        sweep.trial(f"{2 * number + at:03d}", "repeat", shares, seed=(sweep.config.seed + number) % 2**32)
        for number in range(num_seeds)
        for at, shares in enumerate((first, second))
    ]


def measured_variances(state: LedgerState) -> list[PairedVariance]:
    """Variances of every watched metric that all pairs have measured.

    Raises:
        DataError: too few pairs have finished.
    """
    assert state.facts is not None, "a state with facts"
    by_seed: dict[int, list[Mapping[str, float]]] = {}
    for one in state.of("finished"):
        by_seed.setdefault(one.trial.seed, []).append(one.values)
    pairs = [values for _, values in sorted(by_seed.items()) if len(values) == 2]
    if len(pairs) < MIN_PAIRS:
        raise DataError(
            f"{len(pairs)} pairs of trials have finished -- expected {MIN_PAIRS} or more -- run the command again"
        )
    return [
        paired_variance(name, *np.array([[value[name] for value in pair] for pair in pairs]).T)
        for name in state.facts.metrics
        if all(name in value for pair in pairs for value in pair)
    ]


def paired_variance(metric: str, first: Floats, second: Floats) -> PairedVariance:
    """Variances of the difference of two mixtures.

    Args:
        first: values of one mixture (S).
        second: values of the other with the same seeds (S).
    """
    rng, num_pairs = random_for("paired seeds", metric), len(first)
    drawn = rng.integers(0, num_pairs, (NUM_RESAMPLES, num_pairs))
    ratios = [
        _ratio(first[seeds], second[seeds])
        for seeds in drawn
        if np.ptp(first[seeds]) > 0 or np.ptp(second[seeds]) > 0
    ]
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail]) if ratios else (np.nan, np.nan)
    free = float(first.var(ddof=1) + second.var(ddof=1))
    varies = bool(np.ptp(first) > 0 and np.ptp(second) > 0)
    return PairedVariance(
        metric=metric,
        num_pairs=num_pairs,
        effect=float((first - second).mean()),
        paired=float((first - second).var(ddof=1)),
        free=free,
        ratio=_ratio(first, second) if free > 0 else float("nan"),
        interval=(float(low), float(high)),
        correlation=float(np.corrcoef(first, second)[0, 1]) if varies else 0.0,
    )


def _ratio(first: Floats, second: Floats) -> float:
    return float((first - second).var(ddof=1) / (first.var(ddof=1) + second.var(ddof=1)))
