"""Points of the simplex that a report looks at: named mixtures, lines through them, grids and candidates.

Shapes: N points, K tasks or groups.
"""

from collections.abc import Mapping

import numpy as np

from audio_lm.sweep.fit import SweepFit
from audio_lm.sweep.table import Floats
from audio_lm.sweep.trial import Purpose

BEST = "best"
BASELINES: tuple[Purpose, ...] = ("recipe", "uniform", "proportional")
"""Trials to compare with, the most telling one first."""

SEED = 0  # of the candidates: the same fit gives the same report
TOLERANCE = 1e-9
CORNERS = 3  # of a triangle of mixtures


def named_points(fit: SweepFit) -> Mapping[str, Floats]:
    """Shares (K) of the recommended mixture, of the recipe's own and of the baselines that were run, the best first."""
    points = {} if fit.best is None else {BEST: fit.best.shares}
    if fit.prior is not None and is_within(fit.prior[None], fit.bounds).all():
        points["recipe"] = fit.prior
    for purpose in BASELINES:
        if purpose in fit.table.purposes and purpose not in points:
            points[purpose] = fit.table.shares[fit.table.purposes.index(purpose)]
    return points or {"mean of the trials": fit.table.shares.mean(axis=0)}


def reference_point(fit: SweepFit) -> tuple[str, Floats]:
    """Name and shares (K) of the mixture at which effects are stated: the recipe's own if it is known."""
    points = named_points(fit)
    name = next((purpose for purpose in (*BASELINES, BEST) if purpose in points), next(iter(points)))
    return name, points[name]


def along(shares: Floats, task: int, values: Floats) -> Floats:
    """Mixtures (N, K) in which one task has the shares ``values`` (N) and all others keep their proportions.

    >>> along(np.array([0.5, 0.25, 0.25]), 0, np.array([0.2]))
    array([[0.2, 0.4, 0.4]])
    """
    others = np.delete(shares, task)
    total = others.sum()
    proportions = others / total if total > TOLERANCE else np.full(len(others), 1 / max(len(others), 1))
    return np.insert(np.outer(1 - values, proportions), task, values, axis=1)


def range_along(shares: Floats, task: int, bounds: Floats) -> tuple[float, float]:
    """Smallest and largest share of a task on the line of ``along`` that stays within the bounds (K, 2) of all tasks."""
    least, most = bounds[task]
    proportions = np.delete(along(shares, task, np.zeros(1))[0], task)
    for proportion, (low, high) in zip(proportions, np.delete(bounds, task, axis=0), strict=True):
        if proportion > TOLERANCE:  # low <= (1 - share) * proportion <= high
            least, most = max(least, 1 - high / proportion), min(most, 1 - low / proportion)
    return float(least), float(most)


def is_within(points: Floats, bounds: Floats) -> np.ndarray:
    """True for each mixture (N, K) within the bounds (K, 2)."""
    low, high = bounds.T
    return np.all((points >= low - TOLERANCE) & (points <= high + TOLERANCE), axis=1)


def triangle_grid(divisions: int) -> Floats:
    """Regular grid (N, 3) on the simplex of three tasks, edges included."""
    pairs = [(i, j) for i in range(divisions + 1) for j in range(divisions + 1 - i)]
    return np.array([(i, j, divisions - i - j) for i, j in pairs]) / divisions


def candidates(fit: SweepFit, count: int) -> Floats:
    """Mixtures (N, K) within the bounds, from named points and trials on: a grid for three tasks, else random ones.

    Random ones lie between pairs and triples of trials, as mixtures between trials are no extrapolation, in whatever
    number of tasks.

    Args:
        count: about as many mixtures.
    """
    known = np.concatenate([np.stack(list(named_points(fit).values())), fit.table.shares])
    if known.shape[1] == CORNERS:
        between = triangle_grid(int(np.sqrt(2 * count)))
    else:
        generator = np.random.default_rng(SEED)
        parents = generator.integers(len(known), size=(count, 3))
        weights = generator.dirichlet(np.full(3, 0.7), size=count)
        between = np.einsum("np,npk->nk", weights, known[parents])
    points = np.concatenate([known, between])
    return points[is_within(points, fit.bounds)]
