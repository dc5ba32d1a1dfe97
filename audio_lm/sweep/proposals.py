"""Next mixtures of a sweep: those that may improve the objective most, far enough from each other.

Expected improvement on the best predicted trial; each chosen point lowers the value of its neighbours, so a batch is spread.
Source: expected improvement, Jones et al. 1998; local penalization of a batch, arXiv:1505.08052.

Shapes: N points, K tasks or groups.
"""

import numpy as np

from audio_lm.sweep.fit import SweepFit
from audio_lm.sweep.regression.gp import SMALLEST_SHARE
from audio_lm.sweep.regression.value_scale import is_on_log_scale
from audio_lm.sweep.simplex import sample_within
from audio_lm.sweep.table import Floats

NUM_CANDIDATES = 8192
REACH = 1.0
"""Distance in log shares, per square root of the number of tasks, within which a chosen point lowers the value of others."""


def propose(
    fit: SweepFit,
    count: int,
    *,
    candidates: Floats | None = None,
    waiting: Floats | None = None,
    seed: int = 0,
) -> Floats:
    """Next mixtures to run (count, K), in the order of their value.

    Args:
        candidates: mixtures to choose from (N, K); sampled within the bounds of the fit if not given.
        waiting: mixtures of trials that have no result yet (N, K).
    """
    if candidates is None:
        centers = fit.table.shares if fit.best is None else np.vstack([fit.table.shares, fit.best.shares])
        candidates = sample_within(fit.bounds, centers, NUM_CANDIDATES, np.random.default_rng(seed))
    best = float(fit.predict_objective(fit.table.shares)[0].min())
    measured = fit.measured_objective
    is_log = is_on_log_scale(measured[np.isfinite(measured)])
    value = expected_improvement(*fit.predict_objective(candidates), best, is_log=is_log)
    for shares in [] if waiting is None else waiting:
        value = value * _novelty(candidates, shares)
    chosen: list[int] = []
    for _ in range(min(count, len(candidates))):
        chosen.append(int(np.argmax(value)))
        value = value * _novelty(candidates, candidates[chosen[-1]])
        value[chosen] = -1
    return candidates[chosen]


def expected_improvement(mean: Floats, deviation: Floats, best: float, *, is_log: bool = False) -> Floats:
    """Expected amount (N) by which a run is below ``best``.

    Args:
        is_log: a run's logarithm is normal. A large deviation then makes much larger values likely, and hardly smaller ones.
    """
    from scipy.stats import norm

    deviation = np.maximum(deviation, 1e-12)
    if not is_log:
        margin = (best - mean) / deviation
        return deviation * (margin * norm.cdf(margin) + norm.pdf(margin))
    mean = np.maximum(mean, 1e-12)
    variance = np.log1p((deviation / mean) ** 2)
    margin = (np.log(best / mean) + variance / 2) / np.sqrt(variance)
    return best * norm.cdf(margin) - mean * norm.cdf(margin - np.sqrt(variance))


def _novelty(candidates: Floats, chosen: Floats) -> Floats:
    """Factor (N) of the value of candidates, from 0 at a chosen point to 1 far from it."""
    logs = np.log(candidates + SMALLEST_SHARE) - np.log(chosen + SMALLEST_SHARE)
    distance = (logs**2).mean(axis=1)
    return 1 - np.exp(-distance / (2 * REACH**2))
