"""The majority answer, a baseline of benchmarks of labels: always the most frequent answer.

An accuracy says little beside classes of different sizes: 0.90 is chance if nine of ten clips have the same label.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from audio_lm.evaluation.predict import Prediction

LABEL_METRICS = frozenset({"acc", "acc_loose", "acc_binary", "macro_f1", "eer"})
"""Metrics whose answers and references are one label each."""

TRAINING_DATA, BENCHMARK = "training data", "benchmark"


@dataclass(frozen=True)
class Majority:
    """The most frequent answer, and where it was counted."""

    answer: str
    origin: str
    """``TRAINING_DATA``, or ``BENCHMARK`` where there is none."""

    count: int
    """References that are this answer."""

    total: int
    """References that were counted."""


def is_of_labels(metrics: Iterable[str]) -> bool:
    """True if one of a benchmark's metrics compares labels."""
    return any(metric.partition("(")[0].strip() in LABEL_METRICS for metric in metrics)


def majority_of(references: Iterable[str], origin: str) -> Majority | None:
    """Most frequent reference; of several, the first in the alphabet. None if there are no references.

    >>> majority_of(["yes", "no", "yes"], BENCHMARK)
    Majority(answer='yes', origin='benchmark', count=2, total=3)
    """
    counts = Counter(references)
    if not counts:
        return None
    answer, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return Majority(answer, origin, count, counts.total())


def with_answer(predictions: Sequence[Prediction], answer: str) -> list[Prediction]:
    """The same questions, all with one answer."""
    return [replace(prediction, answer=answer, allowed=None, logprobs=None) for prediction in predictions]
