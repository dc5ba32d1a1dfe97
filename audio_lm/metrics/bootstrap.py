"""95 % bootstrap intervals of any metric, and of the difference between two sets of answers to the same clips.

Whole units are drawn with replacement: the speakers or recordings that clips belong to, because their clips are not
independent, or else the clips. The draws depend on the units and the seed alone, so two sets of answers are compared on
the same draws, and every machine finds the same interval.

Shapes: N clips, U units, R resamples.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13; Bisani and Ney, ICASSP 2004,
for error rates of speech recognition.
"""

import json
import math
from collections.abc import Hashable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from audio_lm.common.errors import DataError
from audio_lm.common.protocols import Advance, ignore_advance
from audio_lm.metrics.clip_metric import ListMetric, SumMetric, ratio
from audio_lm.metrics.registry import MetricRow

NUM_RESAMPLES = 1000
MIN_RESAMPLES, MAX_LIST_ITEMS = 100, 100_000
"""A metric of a list of clips takes time for every item, so large benchmarks get fewer resamples."""

TAIL = 2.5  # per cent, on each side
NORMAL_TAIL = 1.96  # standard deviations
FEW_UNITS = 10
"""With fewer speakers or recordings an interval is rough."""

SEED = 0
Counts = np.ndarray[Any, np.dtype[np.int64]]
Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float
    deviation: float
    """Standard deviation over the resamples."""

    num_units: int

    @property
    def detectable(self) -> float:
        """Smallest difference from another system, measured on other clips of the same kind, that is no noise.

        Answers to the same clips are compared more precisely, with their paired interval.
        """
        return NORMAL_TAIL * math.sqrt(2) * self.deviation

    @property
    def is_rough(self) -> bool:
        """True if few units were drawn from."""
        return self.num_units < FEW_UNITS

    @property
    def has_zero(self) -> bool:
        """True if 0 is in the interval: as that of a difference, it may be noise."""
        return self.low <= 0 <= self.high


class ValueOf(Protocol):
    """Value of a metric from its state."""

    def __call__(self, *state: Any) -> float: ...


@dataclass(frozen=True)
class Answers:
    """Answers to the clips of a benchmark, as metrics take them."""

    answers: Sequence[Any]
    references: Sequence[Any]
    languages: Sequence[str]


class ClipResults:
    """Results of the clips of a benchmark under one metric, each computed once.

    Raises:
        DataError: an answer or a reference does not suit the metric.
    """

    def __init__(self, row: MetricRow, clips: Answers, advance: Advance = ignore_advance) -> None:
        """Compute the results.

        Args:
            advance: called with the number of clips that are done, one by one.
        """
        self.metric = row.build(sync_on_compute=False)
        each = self.metric.count if isinstance(self.metric, SumMetric) else self._clip
        self.items: list[Any] = []
        for clip in zip(clips.answers, clips.references, clips.languages, strict=True):
            self.items.append(each(*clip))
            advance(1)

    def take(self, indices: Sequence[int]) -> "ClipResults":
        """Results of some of the clips."""
        taken = copy(self)
        taken.items = [self.items[index] for index in indices]
        vars(taken).pop("each", None)  # it may depend on all clips, as CIDEr-D does
        return taken

    def value(self) -> float:
        """Value of the metric over all clips; equal to that of the metric itself.

        Raises:
            DataError: the metric is undefined for them.
        """
        if isinstance(self.metric, SumMetric):
            return float(self.metric.value(*(sum(column) for column in zip(*self.items, strict=True))))
        if self.each is not None:
            return ratio(math.fsum(self.each), len(self.each))
        assert isinstance(self.metric, ListMetric), "a metric has sums or a list"
        return float(self.metric.value(self.items))

    @cached_property
    def each(self) -> list[float] | None:
        """Value of each clip; None if the metric is no mean of clips."""
        return self.metric.each(self.items) if isinstance(self.metric, ListMetric) else None

    def resampled(self, units: Sequence[Hashable], *, seed: int = SEED) -> Values:
        """(R,) values of the metric over resampled units; NaN where it is undefined."""
        if isinstance(self.metric, SumMetric):
            counts_NS = np.array(self.items, dtype=np.int64)
            sums_RS = draws(units, NUM_RESAMPLES, seed) @ counts_NS
            return np.array([_or_nan(self.metric.value, *sums) for sums in sums_RS.tolist()])
        assert isinstance(self.metric, ListMetric), "a metric has sums or a list"
        if self.each is not None:
            draws_RN = draws(units, NUM_RESAMPLES, seed)
            return np.asarray(draws_RN @ np.array(self.each) / draws_RN.sum(1), dtype=np.float64)
        num_resamples = max(MIN_RESAMPLES, min(NUM_RESAMPLES, MAX_LIST_ITEMS // len(self.items)))
        draws_RN = draws(units, num_resamples, seed)
        drawn = (np.repeat(np.arange(len(self.items)), counts).tolist() for counts in draws_RN)
        return np.array(
            [_or_nan(self.metric.value, [self.items[index] for index in indices]) for indices in drawn]
        )

    def _clip(self, *clip: Any) -> Any:
        assert isinstance(self.metric, ListMetric), "a metric has sums or a list"
        # Through JSON, as the state of the metric is, so that the value sees the same types.
        return json.loads(json.dumps(self.metric.clip(*clip)))


def interval_of(results: ClipResults, units: Sequence[Hashable], *, seed: int = SEED) -> Interval | None:
    """Interval of a metric; None if the metric is undefined for most resamples.

    Args:
        units: unit of each clip.

    Raises:
        DataError: the metric is undefined for all the clips.
    """
    return _interval(results.value(), results.resampled(units, seed=seed), units)


def difference_of(
    ours: ClipResults, others: ClipResults, units: Sequence[Hashable], *, seed: int = SEED
) -> Interval | None:
    """Paired interval of ``ours - others``, two sets of answers to the same clips in the same order.

    Raises:
        DataError: the metric is undefined for all the clips.
    """
    with np.errstate(invalid="ignore"):  # inf - inf, where no unit matches, is no difference that is known
        values_R = ours.resampled(units, seed=seed) - others.resampled(units, seed=seed)
    value = ours.value() - others.value()
    return _interval(value, values_R, units)


def draws(units: Sequence[Hashable], num_resamples: int, seed: int) -> Counts:
    """(R, N) number of times that each clip is in each resample.

    Of a few units, the clips of each drawn unit are drawn too: the spread of a few units alone is no measure, and two
    that happen to be equal would make the interval far too narrow.
    """
    clips_of: dict[Hashable, list[int]] = {}
    for clip, unit in enumerate(units):
        clips_of.setdefault(unit, []).append(clip)
    rng, num_units = np.random.default_rng(seed), len(clips_of)
    counts_RU = rng.multinomial(num_units, np.full(num_units, 1 / num_units), size=num_resamples)
    drawn_RN = np.empty((num_resamples, len(units)), dtype=np.int64)
    is_nested = num_units < min(FEW_UNITS, len(units))
    for index, clips in enumerate(clips_of.values()):
        times_R, num_clips = counts_RU[:, index], len(clips)
        drawn_RN[:, clips] = (
            rng.multinomial(times_R * num_clips, np.full(num_clips, 1 / num_clips))
            if is_nested
            else times_R[:, None]
        )
    return drawn_RN


def _or_nan(value_of: ValueOf, /, *arguments: Any) -> float:
    try:
        return float(value_of(*arguments))
    except DataError:
        return math.nan


def _interval(value: float, values_R: Values, units: Sequence[Hashable]) -> Interval | None:
    known = values_R[~np.isnan(values_R)]
    if math.isnan(value) or len(known) * 2 < len(values_R):
        return None
    # Without interpolation, which is undefined between a finite and an infinite value.
    low, high = np.percentile(known, (TAIL, 100 - TAIL), method="inverted_cdf").tolist()
    deviation = float(known.std()) if np.isfinite(known).all() else math.inf
    return Interval(value, low, high, deviation, len(set(units)))
