"""Intervals of scores, differences to controls and to other runs, from kept answers."""

from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from audio_lm.common.errors import DataError, ProgramError
from audio_lm.evaluation.predict import Prediction
from audio_lm.evaluation.score import metric_inputs
from audio_lm.metrics.bootstrap import Answers, ClipResults, Interval, difference_of, interval_of
from audio_lm.metrics.registry import find_metric

MIN_RECORDINGS = 10
"""Fewer audio files than this hold unrelated clips, as those of the synthetic corpus do."""


@dataclass(frozen=True)
class Units:
    """Independent units of a benchmark, which are resampled."""

    kind: str
    """``clips``, ``speakers`` or ``recordings``."""

    of_clip: list[Hashable]


@dataclass(frozen=True)
class Difference:
    """Paired difference between two sets of answers."""

    ours: float
    other: float
    interval: Interval
    """Of ``ours - other``."""

    num_clips: int
    """Clips that both have answered."""

    @property
    def is_noise(self) -> bool:
        """True if the 95 % interval contains 0."""
        return self.interval.has_zero


def units_of(predictions: Sequence[Prediction]) -> Units:
    """Speakers where every clip names one and there are several, else recordings with several clips, else clips."""
    speakers = [prediction.speaker for prediction in predictions]
    if None not in speakers and len(set(speakers)) > 1:
        return Units("speakers", list(speakers))
    files = [prediction.path for prediction in predictions]
    if None not in files and MIN_RECORDINGS <= len(set(files)) < len(files):
        return Units("recordings", list(files))
    return Units("clips", [prediction.id for prediction in predictions])


@dataclass(frozen=True)
class Scored:
    """Answers to a benchmark with their results under one metric."""

    predictions: Sequence[Prediction]
    results: ClipResults

    def interval(self) -> Interval | None:
        """95 % interval of the score; None if the metric is undefined for the answers, or its program fails."""
        with suppress(DataError, ProgramError):
            return interval_of(self.results, units_of(self.predictions).of_clip)
        return None

    def compare(self, other: "Scored") -> Difference | None:
        """Paired difference over the clips that both have answered; None if it is undefined.

        References may differ, as those of rotated choices do.
        """
        index_of = {prediction.id: index for index, prediction in enumerate(other.predictions)}
        mine = [index for index, prediction in enumerate(self.predictions) if prediction.id in index_of]
        common = [self.predictions[index] for index in mine]
        theirs = [index_of[prediction.id] for prediction in common]
        if not common:
            return None
        ours, others = self.results.take(mine), other.results.take(theirs)
        with suppress(DataError, ProgramError):
            found = difference_of(ours, others, units_of(common).of_clip)
            if found is not None:
                return Difference(ours.value(), others.value(), found, len(common))
        return None


def scored(predictions: Sequence[Prediction], metric: str) -> Scored | None:
    """Results of answers under a metric; None if there are none, or the metric does not suit them or is missing here."""
    row = find_metric(metric)
    with suppress(DataError, ProgramError):
        if predictions:
            return Scored(predictions, ClipResults(row, Answers(*metric_inputs(predictions, row))))
    return None
