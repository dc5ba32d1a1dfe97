"""Answers that are labels: right or wrong, per class, and lists of them.

``acc`` is equality after strip, as the released scripts have it. The others read
a label in whichever form it came: as a tag, after its title, or bare. A metric
that no reference of a benchmark can decide is an error and not a zero.
"""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from audio_lm.common.languages import NAME_OF_LANGUAGE, UNKNOWN_LANGUAGE
from audio_lm.metrics.clip_metric import ListMetric, SumMetric, ratio
from audio_lm.metrics.text import without_markup

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
    """Share of answers equal to their reference after strip."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        return int(answer.strip() == reference.strip()), 1

    def value(self, hits: int, clips: int) -> float:
        return ratio(hits, clips)


class LooseAccuracy(Accuracy):
    """The same by what the labels say: without capitals, titles and closing punctuation."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        return int(label_of(answer) == label_of(reference)), 1


class BinaryAccuracy(Accuracy):
    """Accuracy over the questions whose truth is yes or no."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        is_decided = _loose(reference) in YES_NO
        return int(is_decided and answer.strip() == reference.strip()), int(is_decided)

    def value(self, hits: int, clips: int) -> float:
        return ratio(hits, clips, "no reference is 'yes' or 'no'")


class MacroF1(ListMetric):
    """Mean over the classes that occur of each one's F1."""

    def clip(self, answer: str, reference: str, language: str) -> list[str]:
        return [label_of(answer), label_of(reference)]

    def value(self, clips: Sequence[Sequence[str]]) -> float:
        hits = Counter(reference for answer, reference in clips if answer == reference)
        named = Counter(label for clip in clips for label in clip)
        scores = [2 * hits[label] / named[label] for label in sorted({reference for _, reference in clips})]
        return ratio(sum(scores), len(scores))


class BalancedError(SumMetric):
    """Mean of misses and false alarms of yes/no answers: what an equal error rate is at one operating point."""

    num_sums = 2 * len(YES_NO)

    def count(self, answer: str, reference: str, language: str) -> tuple[int, ...]:
        said, meant = _loose(answer), _loose(reference)
        return tuple(int(one) for truth in YES_NO for one in (said != truth == meant, meant == truth))

    def value(self, *sums: int) -> float:
        rates = [
            ratio(wrong, clips, f"no reference is {truth!r}")
            for truth, wrong, clips in zip(YES_NO, sums[::2], sums[1::2], strict=True)
        ]
        return sum(rates) / len(rates)


class DecadeError(SumMetric):
    """Mean distance of ages in years, by decade; an answer without a decade counts as the farthest."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        said, meant = _decade(answer), _decade(reference)
        if meant is None:
            return 0, 0
        return len(DECADES) - 1 if said is None else abs(said - meant), 1

    def value(self, decades: int, clips: int) -> float:
        return ratio(10 * decades, clips, "no reference names a decade such as 'twenties'")


class MeanAveragePrecision(ListMetric):
    """Macro average precision over 0/1 decisions on the labels that occur (lists with commas).

    Of each label: precision times recall of the yes-answers, plus what is left at the base rate; then the mean.

    Source: the step integral of scikit-learn's ``average_precision_score`` for scores of 0 and 1.
    """

    def clip(self, answer: str, reference: str, language: str) -> list[list[str]]:
        return [sorted(self.items(answer)), sorted(self.items(reference))]

    def items(self, text: str) -> Iterable[str]:
        """The labels in a text, each once."""
        return {_loose(item) for item in without_markup(text).split(",") if item.strip()}

    def value(self, clips: Sequence[Sequence[Sequence[str]]]) -> float:
        said = Counter(label for answer, _ in clips for label in answer)
        positives = Counter(label for _, reference in clips for label in reference)
        hits = Counter(label for answer, reference in clips for label in {*answer} & {*reference})
        scores = []
        for label in sorted(positives):
            recall = hits[label] / positives[label]
            precision = hits[label] / said[label] if said[label] else 0.0
            scores.append(recall * precision + (1 - recall) * positives[label] / len(clips))
        return ratio(sum(scores), len(scores), "no reference has a label")


class OverlapF1(SumMetric):
    """F1 over what texts name, of all clips together."""

    @abstractmethod
    def named(self, text: str) -> Iterable[Hashable]:
        """What a text names."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        said, meant = Counter(self.named(answer)), Counter(self.named(reference))
        return (said & meant).total(), said.total() + meant.total()

    def value(self, hits: int, named: int) -> float:
        return 2 * hits / named if named else 1.0


class SlotF1(OverlapF1):
    """F1 over ``type: value`` items of all answers together."""

    def named(self, text: str) -> list[str]:
        items = without_markup(text).split(",")
        return [_loose(item) for item in items if item.strip() and _loose(item) != "none"]


class EntityF1(OverlapF1):
    """F1 over named entities, value and type."""

    def named(self, text: str) -> list[tuple[str, str]]:
        return [(_loose(m[1] or m[3] or ""), _loose(m[2] or m[4] or "")) for m in ENTITY.finditer(text)]


def label_of(text: str) -> str:
    """What a label says, in whichever form.

    >>> label_of("gender: Female."), label_of("<|en|>"), label_of("<|scenario|>alarm<|action|>set")
    ('female', 'english', 'alarm, set')
    """
    if found := INTENT.search(text):
        return f"{_loose(found[1])}, {_loose(found[2])}"
    words = _loose(text)
    if not words and (tag := LANGUAGE_TAG.search(text)):
        return NAME_OF_LANGUAGE_TAG[tag[1]]
    return TITLE.sub("", words)


def _decade(text: str) -> int | None:
    return next((i for i, decade in enumerate(DECADES) if decade in text.lower()), None)


def _loose(text: str) -> str:
    return without_markup(text).lower().strip(" .!?,;:")
