"""Metrics of labels: accuracy, scores per class, and lists of labels.

``acc`` is string equality after strip, as in the released scripts. The other metrics accept a label as a tag, after a
title such as ``gender:``, or alone. If no reference of a benchmark is usable for a metric, this is an error and not
a score of zero.
"""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from audio_lm.common.languages import NAME_OF_LANGUAGE, UNKNOWN_LANGUAGE
from audio_lm.metrics.clip_metric import ListMetric, SumMetric, ratio
from audio_lm.metrics.text import strip_markup

NAME_OF_LANGUAGE_TAG = {code: name.lower() for code, name in NAME_OF_LANGUAGE.items()} | {
    UNKNOWN_LANGUAGE: UNKNOWN_LANGUAGE
}
LANGUAGE_TAG = re.compile(rf"<\|({'|'.join(NAME_OF_LANGUAGE_TAG)})\|>")
INTENT = re.compile(r"(?:<\|scenario\|>|\bscenario:)(.*?),?\s*(?:<\|action\|>|\baction:)(.*)", re.DOTALL)
TITLE = re.compile(r"^(?:gender|age|singer|genre|title):\s*")
YES_NO = ("yes", "no")
DECADES = (
    "teens",
    "twenties",
    "thirties",
    "forties",
    "fifties",
    "sixties",
    "seventies",
    "eighties",
    "nineties",
)


ENTITY = re.compile(
    r"<\|startofentityvalue\|>(.*?)<\|endofentityvalue\|>\s*<\|startofentitytype\|>(.*?)<\|endofentitytype\|>"
    r"|\[([^\]:]*):([^\]]*)\]"
)


class Accuracy(SumMetric):
    """Fraction of answers equal to their reference after strip."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        return int(answer.strip() == reference.strip()), 1

    def value(self, hits: int, clips: int) -> float:
        return ratio(hits, clips)


class LooseAccuracy(Accuracy):
    """Accuracy of labels without case, titles and final punctuation."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        return int(label_of(answer) == label_of(reference)), 1


class BinaryAccuracy(Accuracy):
    """Accuracy over the questions whose reference is yes or no."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        is_yes_no = _normalize(reference) in YES_NO
        return int(is_yes_no and answer.strip() == reference.strip()), int(is_yes_no)

    def value(self, hits: int, clips: int) -> float:
        return ratio(hits, clips, "no reference is 'yes' or 'no'")


class MacroF1(ListMetric):
    """Mean F1 of the classes that occur in the references."""

    def clip(self, answer: str, reference: str, language: str) -> list[str]:
        return [label_of(answer), label_of(reference)]

    def value(self, clips: Sequence[Sequence[str]]) -> float:
        hits = Counter(reference for answer, reference in clips if answer == reference)
        total = Counter(label for clip in clips for label in clip)
        scores = [2 * hits[label] / total[label] for label in sorted({reference for _, reference in clips})]
        return ratio(sum(scores), len(scores))


class BalancedError(SumMetric):
    """Mean of miss rate and false alarm rate of yes/no answers: the equal error rate at one operating point."""

    num_sums = 2 * len(YES_NO)

    def count(self, answer: str, reference: str, language: str) -> tuple[int, ...]:
        predicted, expected = _normalize(answer), _normalize(reference)
        return tuple(
            int(flag) for label in YES_NO for flag in (predicted != label == expected, expected == label)
        )

    def value(self, *sums: int) -> float:
        rates = [
            ratio(wrong, clips, f"no reference is {label!r}")
            for label, wrong, clips in zip(YES_NO, sums[::2], sums[1::2], strict=True)
        ]
        return sum(rates) / len(rates)


class DecadeError(SumMetric):
    """Mean absolute error of ages in years, by decade; an answer without a decade gets the largest error."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        predicted, expected = _decade(answer), _decade(reference)
        if expected is None:
            return 0, 0
        return len(DECADES) - 1 if predicted is None else abs(predicted - expected), 1

    def value(self, decades: int, clips: int) -> float:
        return ratio(10 * decades, clips, "no reference names a decade such as 'twenties'")


class MeanAveragePrecision(ListMetric):
    """Macro average precision from 0/1 decisions on the labels of the references, which are comma-separated lists.

    For each label: precision times recall of the positive decisions, plus the remaining recall times the label's base
    rate. The value is the mean over labels.

    Source: the step integral of scikit-learn's ``average_precision_score`` for scores of 0 and 1.
    """

    def clip(self, answer: str, reference: str, language: str) -> list[list[str]]:
        return [sorted(self.items(answer)), sorted(self.items(reference))]

    def items(self, text: str) -> Iterable[str]:
        """Labels in a text, without duplicates."""
        return {_normalize(item) for item in strip_markup(text).split(",") if item.strip()}

    def value(self, clips: Sequence[Sequence[Sequence[str]]]) -> float:
        predicted = Counter(label for answer, _ in clips for label in answer)
        positives = Counter(label for _, reference in clips for label in reference)
        hits = Counter(label for answer, reference in clips for label in {*answer} & {*reference})
        scores = []
        for label in sorted(positives):
            recall = hits[label] / positives[label]
            precision = hits[label] / predicted[label] if predicted[label] else 0.0
            scores.append(recall * precision + (1 - recall) * positives[label] / len(clips))
        return ratio(sum(scores), len(scores), "no reference has a label")


class OverlapF1(SumMetric):
    """Micro F1 of the items in the texts, over all clips."""

    @abstractmethod
    def items(self, text: str) -> Iterable[Hashable]:
        """Items in a text."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        predicted, expected = Counter(self.items(answer)), Counter(self.items(reference))
        return (predicted & expected).total(), predicted.total() + expected.total()

    def value(self, hits: int, total: int) -> float:
        return 2 * hits / total if total else 1.0


class SlotF1(OverlapF1):
    """Micro F1 of ``type: value`` items."""

    def items(self, text: str) -> list[str]:
        items = strip_markup(text).split(",")
        return [_normalize(item) for item in items if item.strip() and _normalize(item) != "none"]


class EntityF1(OverlapF1):
    """Micro F1 of named entities, as (value, type)."""

    def items(self, text: str) -> list[tuple[str, str]]:
        return [
            (_normalize(m[1] or m[3] or ""), _normalize(m[2] or m[4] or "")) for m in ENTITY.finditer(text)
        ]


def label_of(text: str) -> str:
    """Normalized label of a text in any form.

    >>> label_of("gender: Female."), label_of("<|en|>"), label_of("<|scenario|>alarm<|action|>set")
    ('female', 'english', 'alarm, set')
    """
    if match := INTENT.search(text):
        return f"{_normalize(match[1])}, {_normalize(match[2])}"
    words = _normalize(text)
    if not words and (tag := LANGUAGE_TAG.search(text)):
        return NAME_OF_LANGUAGE_TAG[tag[1]]
    return TITLE.sub("", words)


def _decade(text: str) -> int | None:
    return next((i for i, decade in enumerate(DECADES) if decade in text.lower()), None)


def _normalize(text: str) -> str:
    return strip_markup(text).lower().strip(" .!?,;:")
