"""Mixture with the best predicted objective within bounds.

Shapes: N points, K tasks or groups, E further columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from audio_lm.sweep.objective import Objective
from audio_lm.sweep.regression.log_linear import LogLinearModel
from audio_lm.sweep.regression.surface import MetricSurface
from audio_lm.sweep.simplex import into_bounds, sample_within
from audio_lm.sweep.table import Floats

NUM_CANDIDATES = 8192
NUM_BEST = 50
"""The optimum is the mean of this many best candidates: a single best one is where the regression errs most."""

ROUNDS = 2
"""Candidates are sampled again around the best ones."""


@dataclass(frozen=True)
class Pull:
    """Pull of the optimum towards a mixture: ``strength`` times the Kullback-Leibler divergence is added to the objective."""

    towards: Floats  # (K)
    strength: float

    def of(self, shares: Floats) -> Floats:
        """Addition to the objective (N) at shares (N, K)."""
        ratio = np.maximum(shares, 1e-12) / np.maximum(self.towards, 1e-12)
        return self.strength * (shares * np.log(ratio)).sum(axis=1)


def find_optimum(
    objective: Objective,
    surfaces: Mapping[str, MetricSurface],
    bounds: Floats,
    *,
    centers: Floats,
    pull: Pull | None = None,
    seed: int = 0,
) -> Floats:
    """Shares (K) with the smallest predicted objective.

    If all surfaces are log-linear the problem is convex and solved exactly.

    Args:
        centers: mixtures around which candidates are sampled (N, K), such as those of the trials.
    """
    used = [surfaces[name] for name in objective.weights]
    if all(isinstance(surface.fitted, LogLinearModel) for surface in used):
        return solve_log_linear(used, [abs(weight) for weight in objective.weights.values()], bounds, pull)
    rng = np.random.default_rng(seed)
    best = into_bounds(centers, bounds)
    for _ in range(ROUNDS):
        candidates = np.vstack([best, sample_within(bounds, best, NUM_CANDIDATES, rng)])
        mean, _ = objective.predict(surfaces, candidates)
        score = mean + (0 if pull is None else pull.of(candidates))
        best = candidates[np.argsort(score, kind="stable")[:NUM_BEST]]
    return best.mean(axis=0)


def solve_log_linear(
    surfaces: Sequence[MetricSurface], weights: Sequence[float], bounds: Floats, pull: Pull | None = None
) -> Floats:
    """Exact minimum (K) of a weighted sum of log-linear surfaces with a pull, which is convex.

    Source: the objective of Olmix (github.com/allenai/olmix), solved here by sequential quadratic programming.
    """
    from scipy.optimize import minimize

    size = len(bounds)
    rates, heights = [], []
    for surface, weight in zip(surfaces, weights, strict=True):
        model = surface.fitted
        assert isinstance(model, LogLinearModel), "only log-linear surfaces are solved exactly"
        extra = surface.encoding.of_shares(np.full((1, size), 1 / size)).extra[0]
        rates.append(model.slopes[:size])
        offset = extra @ model.slopes[size:] - model.center @ model.slopes + model.intercept
        heights.append(weight * np.exp(offset))
    slopes, height = np.stack(rates), np.array(heights)
    scale = 1 / float(height.sum())

    def value(shares: Floats) -> tuple[float, Floats]:
        terms = height * np.exp(slopes @ shares)
        total, gradient = float(terms.sum()), terms @ slopes
        if pull is not None:
            total += float(pull.of(shares[None])[0])
            logs = np.log(np.maximum(shares, 1e-12) / np.maximum(pull.towards, 1e-12))
            gradient = gradient + pull.strength * (1 + logs)
        return scale * total, scale * gradient

    start = into_bounds(np.full((1, size), 1 / size), bounds)[0]
    solved = minimize(
        value,
        start,
        jac=True,
        method="SLSQP",
        bounds=[tuple(pair) for pair in bounds],
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": np.ones_like},
        options={"maxiter": 1000, "ftol": 1e-12},
    )
    return into_bounds(np.clip(solved.x, *bounds.T)[None], bounds)[0]
