"""Part of a score that comes from the audio, next to the most that could come from it.

A difference to silence alone compares badly between benchmarks: of two balanced labels, silence keeps half, so that 50
points are the most that listening can add; of ten labels it is 90.
"""

import math
from collections.abc import Iterator, Sequence

from audio_lm.evaluation.config import SILENCE
from audio_lm.evaluation.radar import HIGHEST, main_rows
from audio_lm.evaluation.report import Row
from audio_lm.metrics.registry import find_metric

UNBOUNDED = frozenset({"cider_d", "spider"})
"""Metrics without a largest value."""


def listening_lines(rows: Sequence[Row]) -> Iterator[str]:
    """A line for the first metric of each benchmark with silence: what the audio adds, and the most that it could."""
    for benchmark, row in main_rows(rows).items():
        shadow = row.shadows.get(SILENCE)
        if shadow is None or not math.isfinite(shadow.score) or not shadow.has_interval:
            continue
        metric = find_metric(row.metric)
        points = 100 / HIGHEST.get(metric.name, 1.0)
        sign = 1 if metric.is_higher_better else -1
        low, high = sorted(points * sign * bound for bound in (shadow.low, shadow.high))
        added = points * sign * (row.ours - shadow.score)
        possible = 100 - points * shadow.score if metric.is_higher_better else points * shadow.score
        most = (
            f", {added / possible:.0%} of the {possible:.1f} that silence leaves"
            if metric.name not in UNBOUNDED and possible > 0
            else ""
        )
        yield f"{benchmark}: the audio adds {added:.1f} points ({low:.1f} to {high:.1f}) to {metric.title}{most}"
