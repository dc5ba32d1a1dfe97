"""Noise of a sweep: spread of runs of one mixture with several seeds, and the smallest effect that is named.

Shapes: N trials.
"""

from collections.abc import Mapping

import numpy as np

from audio_lm.sweep.regression.points import Encoding, Integers
from audio_lm.sweep.regression.surface import number_mixtures
from audio_lm.sweep.table import Floats, TrialTable

NAMED_SPREADS = 2.0
"""Effects smaller than this many standard deviations of one run are not named."""


def noise_of(table: TrialTable) -> dict[str, float]:
    """Standard deviation of one run for each metric, from all mixtures that were run more than once; empty if none was."""
    repeats = repeats_of(table)
    found = {name: spread_of(values, repeats) for name, values in table.metrics.items()}
    return {name: spread for name, spread in found.items() if spread is not None}


def mixtures_of(table: TrialTable) -> Integers:
    """Number of each trial's mixture (N); trials with the same shares and settings have the same one."""
    return number_mixtures(Encoding.of(table).of_table(table))


def repeats_of(table: TrialTable) -> Integers:
    """Number of each trial's mixture (N); a trial with the mixture and seed of an earlier one, its copy, has its own."""
    mixtures = mixtures_of(table)
    if not table.seeds:
        return mixtures
    pairs = np.stack([mixtures, np.array(table.seeds)], axis=1)
    first = np.unique(pairs, axis=0, return_index=True)[1]
    is_copy = ~np.isin(np.arange(len(table)), first)
    return np.where(is_copy, -1 - np.arange(len(table)), mixtures)


def spread_of(values: Floats, mixtures: Integers) -> float | None:
    """Standard deviation within mixtures, pooled over those with several values; None without any.

    >>> spread_of(np.array([1.0, 3.0, 7.0]), np.array([0, 0, 1]))
    1.4142135623730951
    """
    squares, freedom = 0.0, 0
    for mixture in np.unique(mixtures):
        runs = values[(mixtures == mixture) & np.isfinite(values)]
        if len(runs) > 1:
            squares += float(((runs - runs.mean()) ** 2).sum())
            freedom += len(runs) - 1
    return float(np.sqrt(squares / freedom)) if freedom else None


def spread_of_another_seed(table: TrialTable, values: Floats) -> float:
    """Standard deviation that a run with another seed than the trials' common one adds to a prediction of values (N).

    Trials with common random numbers have the luck of their seed in common, so it is part of the surface and in none of its
    errors; only the repeats show it. Zero where trials have seeds of their own, or nothing was repeated.
    """
    if not table.seeds or np.unique(table.seeds, return_counts=True)[1].max() <= len(table) / 2:
        return 0.0
    return spread_of(values, repeats_of(table)) or 0.0


def ceiling_of(values: Floats, noise: float) -> float:
    """Largest correlation with measured values that a perfect prediction can have, given the noise of a run."""
    variance = float(np.nanvar(values))
    return float(np.sqrt(max(0.0, 1 - noise**2 / variance))) if variance > 0 else 0.0


def smallest_effects(noise: Mapping[str, float]) -> dict[str, float]:
    """Metric -> smallest difference between two mixtures that is named."""
    return {name: NAMED_SPREADS * spread for name, spread in noise.items()}
