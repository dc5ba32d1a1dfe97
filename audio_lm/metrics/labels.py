"""Answers that are labels: right or wrong, per class, and lists of them.

``acc`` is equality after strip, as the released scripts have it. The others read
a label in whichever form it came: as a tag, after its title, or bare. A metric
that no reference of a benchmark can decide is an error and not a zero.
"""

import re
from collections import Counter
from collections.abc import Sequence

from audio_lm.errors import DataError
from audio_lm.languages import NAME_OF_LANGUAGE, UNKNOWN_LANGUAGE
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


def accuracy(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """Share of answers equal to their reference after strip."""
    return _mean([answer.strip() == reference.strip() for answer, reference in _pairs(answers, references)])


def accuracy_loose(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """The same by what the labels say: without capitals, titles and closing punctuation."""
    return _mean(
        [label_of(answer) == label_of(reference) for answer, reference in _pairs(answers, references)]
    )


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


def accuracy_binary(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """Accuracy over the questions whose truth is yes or no.

    Raises:
        DataError: there is no such question.
    """
    decided = [a.strip() == r.strip() for a, r in _pairs(answers, references) if _loose(r) in YES_NO]
    return _mean(decided, "no reference is 'yes' or 'no'")


def macro_f1(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """Mean over the classes that occur of each one's F1."""
    pairs = [(label_of(answer), label_of(reference)) for answer, reference in _pairs(answers, references)]
    scores = []
    for label in sorted({reference for _, reference in pairs}):
        hits = sum(answer == label == reference for answer, reference in pairs)
        named = sum((answer == label) + (reference == label) for answer, reference in pairs)
        scores.append(2 * hits / named)
    return _mean(scores)


def balanced_error(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """Mean of misses and false alarms of yes/no answers: what an equal error rate is at one operating point.

    Raises:
        DataError: every reference has the same truth.
    """
    rates = []
    for truth in YES_NO:
        of_truth = [_loose(a) != truth for a, r in _pairs(answers, references) if _loose(r) == truth]
        rates.append(_mean(of_truth, f"no reference is {truth!r}"))
    return _mean(rates)


def decade_error(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """Mean distance of ages in years, by decade; an answer without a decade counts as the farthest.

    Raises:
        DataError: no reference names a decade.
    """
    errors = []
    for answer, reference in _pairs(answers, references):
        said, meant = _decade(answer), _decade(reference)
        if meant is not None:
            errors.append(10.0 * (len(DECADES) - 1 if said is None else abs(said - meant)))
    return _mean(errors, "no reference names a decade such as 'twenties'")


def mean_average_precision(
    answers: Sequence[str], references: Sequence[str], languages: Sequence[str]
) -> float:
    """Macro average precision over 0/1 decisions on the labels that occur (lists with commas)."""
    return average_precision_of_sets(
        [_items(answer) for answer in answers], [_items(reference) for reference in references]
    )


def average_precision_of_sets(answers: Sequence[set[str]], references: Sequence[set[str]]) -> float:
    """Of each label: precision times recall of the yes-answers, plus what is left at the base rate; then the mean.

    Raises:
        DataError: no label occurs in the references.

    Source: the step integral of scikit-learn's ``average_precision_score`` for scores of 0 and 1.
    """
    scores = []
    for label in sorted(set().union(*references)) if references else ():
        pairs = [
            (label in answer, label in reference)
            for answer, reference in zip(answers, references, strict=True)
        ]
        positives = sum(truth for _, truth in pairs)
        said = sum(answer for answer, _ in pairs)
        hits = sum(answer and truth for answer, truth in pairs)
        recall = hits / positives
        precision = hits / said if said else 0.0
        scores.append(recall * precision + (1 - recall) * positives / len(pairs))
    return _mean(scores, "no reference has a label")


def item_f1(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """F1 over ``type: value`` items of all answers together."""
    return _f1([Counter(_slots(text)) for text in answers], [Counter(_slots(text)) for text in references])


def entity_f1(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """F1 over named entities, value and type."""
    return _f1(
        [Counter(_entities(text)) for text in answers], [Counter(_entities(text)) for text in references]
    )


ENTITY = re.compile(
    r"<\|startofentityvalue\|>(.*?)<\|endofentityvalue\|>\s*<\|startofentitytype\|>(.*?)<\|endofentitytype\|>"
    r"|\[([^\]:]*):([^\]]*)\]"
)


def _entities(text: str) -> list[tuple[str, str]]:
    return [(_loose(m[1] or m[3] or ""), _loose(m[2] or m[4] or "")) for m in ENTITY.finditer(text)]


def _slots(text: str) -> list[str]:
    return [
        _loose(item) for item in without_markup(text).split(",") if item.strip() and _loose(item) != "none"
    ]


def _items(text: str) -> set[str]:
    return {_loose(item) for item in without_markup(text).split(",") if item.strip()}


def _f1(answers: Sequence[Counter], references: Sequence[Counter]) -> float:
    hits = sum((answer & reference).total() for answer, reference in zip(answers, references, strict=True))
    named = sum(answer.total() for answer in answers) + sum(reference.total() for reference in references)
    return 2 * hits / named if named else 1.0


def _decade(text: str) -> int | None:
    return next((i for i, decade in enumerate(DECADES) if decade in text.lower()), None)


def _loose(text: str) -> str:
    return without_markup(text).lower().strip(" .!?,;:")


def _pairs(answers: Sequence[str], references: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(answers, references, strict=True))


def _mean(values: Sequence[float], why_none: str = "there are no answers") -> float:
    if not values:
        raise DataError(f"{why_none}, so the metric says nothing; take it off this benchmark")
    return sum(values) / len(values)
