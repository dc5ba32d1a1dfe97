"""Points of the simplex of shares within bounds.

Shapes: N points, K tasks or groups.
"""

from collections.abc import Sequence

import numpy as np

from audio_lm.common.errors import DataError
from audio_lm.sweep.table import Floats

STEPS = 100  # of a bisection
TOLERANCE = 1e-9
STRENGTHS = (0.3, 1.0, 3.0, 10.0)
"""Concentrations per task of sampled points; small ones reach the corners, large ones stay near their center."""


def check_bounds(bounds: Floats | None, tasks: tuple[str, ...]) -> Floats:
    """Smallest and largest share of each task (K, 2); 0 and 1 if there are none.

    Raises:
        DataError: no mixture is within the bounds.
    """
    if bounds is None:
        return np.tile([0.0, 1.0], (len(tasks), 1))
    low, high = bounds.T
    if (
        len(bounds) != len(tasks)
        or (low > high).any()
        or low.sum() > 1 + TOLERANCE
        or high.sum() < 1 - TOLERANCE
    ):
        raise DataError(
            f"bounds {bounds.tolist()} of the shares of {list(tasks)} leave no mixture -- expected a smallest and a "
            f"largest share for each, with smallest ones that sum to at most 1 and largest ones to at least 1"
        )
    return bounds


def into_bounds(points: Floats, bounds: Floats) -> Floats:
    """Points (N, K) moved into bounds (K, 2): what is over or under one goes to the free shares in proportion.

    Each point is scaled by a factor and clipped, so that its shares sum to one; some point has to be within the bounds.
    """
    low, high = bounds.T
    base = np.maximum(points, 1e-12)
    least, most = np.full(len(points), -50.0), np.full(len(points), 50.0)
    for _ in range(STEPS):  # the sum grows with the factor
        middle = (least + most) / 2
        is_small = np.clip(base * np.exp(middle)[:, None], low, high).sum(axis=1) < 1
        least, most = np.where(is_small, middle, least), np.where(is_small, most, middle)
    return _exact_sum(np.clip(base * np.exp(most)[:, None], low, high), low, high)


def _exact_sum(points: Floats, low: Floats, high: Floats) -> Floats:
    """Points (N, K) whose rest to one is distributed over the shares that have room for it."""
    rest = 1 - points.sum(axis=1, keepdims=True)
    room = np.where(rest > 0, high - points, points - low)
    total = room.sum(axis=1, keepdims=True)
    return points + np.where(total > 0, rest * room / np.where(total > 0, total, 1), 0)


def sample_within(bounds: Floats, centers: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Random points (count, K) around centers (N, K) with several strengths, and around the middle of the simplex."""
    size = len(bounds)
    centers = np.vstack([centers, np.full((max(1, len(centers) // 4), size), 1 / size)])
    chosen = centers[rng.integers(len(centers), size=count)]
    strength = size * rng.choice(STRENGTHS, size=(count, 1))
    drawn = rng.standard_gamma(np.maximum(chosen * strength, 1e-3))
    return into_bounds(drawn / np.maximum(drawn.sum(axis=1, keepdims=True), 1e-12), bounds)


def simplex_grid(num_names: int, divisions: int) -> Sequence[tuple[float, ...]]:
    """All points of a simplex whose shares are multiples of one part in ``divisions``.

    >>> simplex_grid(2, 2)
    [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]
    """
    if num_names == 1:
        return [(1.0,)]
    found: list[tuple[float, ...]] = []

    def extend(prefix: tuple[int, ...], left: int) -> None:
        if len(prefix) == num_names - 1:
            found.append(tuple(count / divisions for count in (*prefix, left)))
            return
        for count in range(left + 1):
            extend((*prefix, count), left - count)

    extend((), divisions)
    return found
