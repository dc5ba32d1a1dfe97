"""Metrics of the log-probabilities of the allowed answers: calibration, area under the ROC curve, equal error rate.

An ROC curve is of trials, each with a score and a target. With two allowed answers a clip is one trial: the log-odds of
the first answer, which is the target or is not. With more, every allowed answer of every clip is a trial, as in
language recognition.

Source: Guo et al., arXiv:1706.04599, section 2, for the calibration error (15 bins).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from audio_lm.common.errors import DataError
from audio_lm.metrics.clip_metric import ListMetric, ratio
from audio_lm.metrics.labels import label_of

NUM_BINS = 15
Values = np.ndarray[Any, np.dtype[np.float64]]


class ClosedScores(NamedTuple):
    """Allowed answers to a question, with their log-probabilities."""

    texts: tuple[str, ...]
    logprobs: tuple[float, ...]
    """They need not be normalized."""

    @property
    def log_odds(self) -> list[float]:
        """Log-odds of each answer against the other allowed ones."""
        return [
            own - _log_sum([*self.logprobs[:index], *self.logprobs[index + 1 :]])
            for index, own in enumerate(self.logprobs)
        ]

    @property
    def probabilities(self) -> list[float]:
        """Probability of each answer among the allowed ones."""
        total = _log_sum(self.logprobs)
        return [math.exp(own - total) for own in self.logprobs]

    def index_of(self, reference: str) -> int:
        """Index of the reference answer; -1 if it is not allowed, so that no answer can be right."""
        for normalize in (str.strip, label_of):
            texts = [normalize(text) for text in self.texts]
            if normalize(reference) in texts:
                return texts.index(normalize(reference))
        return -1


class ClosedMetric(ListMetric):
    """Metric of the allowed answers; takes ``ClosedScores`` instead of answers."""

    def clip(self, answer: Any, reference: str, language: str) -> list[Any]:
        """Log-odds and probabilities of the answers, and the index of the right one.

        Raises:
            DataError: the answer was generated, or only one answer is allowed.
        """
        if not isinstance(answer, ClosedScores):
            raise DataError(
                "answers were generated, without log-probabilities; evaluate the benchmark with closed: true"
            )
        if len(answer.texts) < 2:
            raise DataError(
                f"only {answer.texts[0]!r} is allowed, expected several answers; name them in allowed"
            )
        return [answer.log_odds, answer.probabilities, answer.index_of(reference)]


class CalibrationError(ClosedMetric):
    """Mean difference between confidence and accuracy, over 15 bins of confidence."""

    def value(self, clips: Sequence[Any]) -> float:
        sums = np.zeros((NUM_BINS, 2))
        for _, probabilities, right in sorted(clips):  # the order of clips does not count
            confidence = max(probabilities)
            index = min(NUM_BINS - 1, int(confidence * NUM_BINS))
            sums[index] += (probabilities.index(confidence) == right, confidence)
        return ratio(float(np.abs(sums[:, 0] - sums[:, 1]).sum()), len(clips))


class AreaUnderRoc(ClosedMetric):
    """Probability that a target trial scores above another one; equal scores count half."""

    def value(self, clips: Sequence[Any]) -> float:
        false_alarms, hits = roc_curve(*trials(clips))
        return float(np.trapezoid(hits, false_alarms))


class EqualErrorRate(ClosedMetric):
    """Error rate at the threshold where misses and false alarms are equally frequent."""

    def value(self, clips: Sequence[Any]) -> float:
        return equal_error_rate(*trials(clips))


def trials(clips: Sequence[Any]) -> tuple[Values, Values]:
    """Scores and targets (0 or 1) of the trials of clips.

    Raises:
        DataError: all trials are targets, or none is.
    """
    is_binary = all(len(log_odds) == 2 for log_odds, _, _ in clips)
    pairs = [
        (score, index == right)
        for log_odds, _, right in clips
        for index, score in enumerate(log_odds[:1] if is_binary else log_odds)
    ]
    scores, targets = (
        np.array([score for score, _ in pairs]),
        np.array([float(target) for _, target in pairs]),
    )
    if not 0 < targets.sum() < len(targets):
        raise DataError("all references are the same answer, so there is no ROC curve; remove the metric")
    return scores, targets


def roc_curve(scores: Values, targets: Values) -> tuple[Values, Values]:
    """False alarm rate and hit rate at every threshold, from the strictest on; both begin at 0 and end at 1."""
    order = np.argsort(-scores, kind="stable")
    # Equal scores pass a threshold together.
    last = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(targets[order])[last]
    false_alarms = np.cumsum(1 - targets[order])[last]
    return np.append(0.0, false_alarms / false_alarms[-1]), np.append(0.0, hits / hits[-1])


def equal_error_rate(scores: Values, targets: Values) -> float:
    """Error rate where the ROC curve, with straight lines between its points, has as many misses as false alarms."""
    false_alarms, hits = roc_curve(scores, targets)
    gap = false_alarms - (1 - hits)  # rises from -1 to 1
    right = int(np.argmax(gap >= 0))
    left = max(0, right - 1)
    share = 0.0 if gap[right] == gap[left] else -gap[left] / (gap[right] - gap[left])
    return float(false_alarms[left] + share * (false_alarms[right] - false_alarms[left]))


def _log_sum(logs: Sequence[float]) -> float:
    top = max(logs)
    return top if math.isinf(top) else top + math.log(math.fsum(math.exp(value - top) for value in logs))
