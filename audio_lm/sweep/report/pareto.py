"""Pareto fronts between two metrics.

Shapes: N mixtures, M metrics.
"""

import itertools

import numpy as np

from audio_lm.sweep.report.view import FitView
from audio_lm.sweep.table import Floats


def pareto_front(values: Floats, margins: Floats | None = None) -> list[int]:
    """Indices of the rows (N, M) that no other row dominates, in the order of the first column; smaller is better.

    Args:
        margins: difference (M) under which two values count as equal: a row that is better by less dominates nothing.

    >>> pareto_front(np.array([[1.0, 3.0], [2.0, 1.0], [2.0, 2.0]]))
    [0, 1]
    """
    margins = np.zeros(values.shape[1]) if margins is None else margins
    front = [
        row
        for row, own in enumerate(values)
        if np.isfinite(own).all()
        and not np.any(np.all(values <= own, axis=1) & np.any(values < own - margins, axis=1))
    ]
    return sorted(front, key=lambda row: tuple(values[row]))


def metric_pairs(view: FitView) -> list[tuple[str, str]]:
    """Pairs of fitted metrics, those with the largest weights in the objective first."""
    pairs = itertools.combinations(enumerate(view.metrics), 2)
    return [(a, b) for (_, a), (_, b) in sorted(pairs, key=lambda pair: pair[0][0] + pair[1][0])]
