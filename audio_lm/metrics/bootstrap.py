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
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from audio_lm.common.errors import DataError
from audio_lm.metrics.clip_metric import ClipMetric, ListMetric, SumMetric
from audio_lm.metrics.registry import MetricRow

NUM_RESAMPLES = 1000
MIN_RESAMPLES, MAX_LIST_ITEMS = 100, 400_000
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


def interval_of(
    row: MetricRow, clips: Answers, units: Sequence[Hashable], *, seed: int = SEED
) -> Interval | None:
    """Interval of a metric; None if the metric is undefined for most resamples.

    Args:
        units: unit of each clip.

    Raises:
        DataError: the metric is undefined for all the clips.
    """
    values = resampled_values(row, clips, units, seed=seed)
    return _interval(_value(row, clips), values, units)


def difference_of(
    row: MetricRow, ours: Answers, others: Answers, units: Sequence[Hashable], *, seed: int = SEED
) -> Interval | None:
    """Paired interval of ``ours - others``, two sets of answers to the same clips in the same order.

    Raises:
        DataError: the metric is undefined for all the clips.
    """
    pairs = [resampled_values(row, clips, units, seed=seed) for clips in (ours, others)]
    with np.errstate(invalid="ignore"):  # inf - inf, where no unit matches, is no difference that is known
        values_R = pairs[0] - pairs[1]
    return _interval(_value(row, ours) - _value(row, others), values_R, units)


def resampled_values(
    row: MetricRow, clips: Answers, units: Sequence[Hashable], *, seed: int = SEED
) -> Values:
    """(R,) values of a metric over resampled units; NaN where it is undefined."""
    metric = row.build(sync_on_compute=False)
    if isinstance(metric, SumMetric):
        return _values_of_sums(metric, clips, units, seed)
    assert isinstance(metric, ListMetric), "a metric has sums or a list"
    return _values_of_list(metric, clips, units, seed)


def draws(units: Sequence[Hashable], num_resamples: int, seed: int) -> Counts:
    """(R, N) number of times that each clip is in each resample."""
    index_of = {unit: index for index, unit in enumerate(dict.fromkeys(units))}
    unit_N = np.array([index_of[unit] for unit in units], dtype=np.int64)
    num_units = len(index_of)
    counts_RU = np.random.default_rng(seed).multinomial(
        num_units, np.full(num_units, 1 / num_units), size=num_resamples
    )
    return counts_RU[:, unit_N]


def _values_of_sums(metric: SumMetric, clips: Answers, units: Sequence[Hashable], seed: int) -> Values:
    triples = zip(clips.answers, clips.references, clips.languages, strict=True)
    counts_NS = np.array([metric.count(*clip) for clip in triples], dtype=np.int64)
    sums_RS = draws(units, NUM_RESAMPLES, seed) @ counts_NS
    return np.array([_or_nan(metric.value, *sums) for sums in sums_RS.tolist()])


def _values_of_list(metric: ListMetric, clips: Answers, units: Sequence[Hashable], seed: int) -> Values:
    triples = zip(clips.answers, clips.references, clips.languages, strict=True)
    # Through JSON, as the state of the metric is, so that the value sees the same types.
    items = [json.loads(json.dumps(metric.clip(*clip))) for clip in triples]
    num_resamples = max(MIN_RESAMPLES, min(NUM_RESAMPLES, MAX_LIST_ITEMS // len(items)))
    each = metric.each(items)
    if each is not None:
        draws_RN = draws(units, NUM_RESAMPLES, seed)
        return np.asarray(draws_RN @ np.array(each) / draws_RN.sum(1), dtype=np.float64)
    draws_RN = draws(units, num_resamples, seed)
    drawn = (np.repeat(np.arange(len(items)), counts).tolist() for counts in draws_RN)
    return np.array([_or_nan(metric.value, [items[index] for index in indices]) for indices in drawn])


def _value(row: MetricRow, clips: Answers) -> float:
    metric: ClipMetric = row.build(sync_on_compute=False)
    metric.update(clips.answers, clips.references, clips.languages)
    return float(metric.compute())


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
