"""Metrics of questions with choices: a clean accuracy, and those of published evaluation scripts.

A reference is a ``ChoiceReference``. The published scripts read an answer in ways of their own, so the same answer can be
right for one and wrong for another; the clean accuracy accepts the letter of a choice and its text.

Source: behavior of MMAU evaluation.py at 110127f (also MMAR at 3bce090), AIR-Bench score_foundation.py at 9832476, lmms-eval
tasks/mmau, air_bench and mmar/utils.py at 75571cf; implemented anew.
"""

import random
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from audio_lm.common.errors import DataError
from audio_lm.metrics.clip_metric import ListMetric, SumMetric, ratio
from audio_lm.metrics.text import strip_markup

LETTERS = "ABCDEFGHIJ"
LMMS_EVAL_SEED = 0  # of Python's generator, the first of ``--seed 0,1234,1234,1234``

WORD = re.compile(r"\w+")
CLEAN_WORD = re.compile(r"[\w#%$€£+]+")
LONE_LETTER = re.compile(rf"\W*([{LETTERS}{LETTERS.lower()}])\W*")
LEADING_LETTER = re.compile(rf"\W*([{LETTERS}])(?:\s*[).:\]]|\*\*)\s*(.*)", re.DOTALL)
NAMED_LETTER = re.compile(
    rf"\b(?:answer|option|choice)(?: is)?:?\s*[*(\"']*([{LETTERS}])\b(?!')", re.IGNORECASE
)
LABELED_CHOICE = re.compile(rf"\s*\(?([{LETTERS}])[).:]\s*(.+)", re.DOTALL)


class ChoiceReference(NamedTuple):
    """Correct choice of a question, and all of its choices."""

    answer: str
    """Text of the correct choice, its letter, or both (``B. Woman``)."""

    choices: tuple[str, ...]
    """Texts in the order of their letters."""

    position: int = 0
    """Position of the question in its file, for scripts whose result depends on the order."""

    @property
    def correct(self) -> int | None:
        """Index of the correct choice; None if the answer is none of the choices."""
        if self.answer in self.choices:
            return self.choices.index(self.answer)
        text = self.answer.strip()
        if len(text) == 1 and text.upper() in LETTERS[: len(self.choices)]:
            return LETTERS.index(text.upper())
        if match := LABELED_CHOICE.fullmatch(self.answer):
            index = LETTERS.index(match[1])
            if index < len(self.choices) and _same(match[2], self.choices[index]):
                return index
        return next((i for i, choice in enumerate(self.choices) if _same(choice, text)), None)

    @property
    def text(self) -> str:
        """Text of the correct choice; the answer as it is if it is none of the choices."""
        index = self.correct
        return self.answer if index is None else self.choices[index]


class ChoiceAccuracy(SumMetric):
    """Fraction of questions answered with the correct choice, by its letter or its text.

    An answer that names no choice, or several, is wrong and stays in the denominator.
    """

    def count(self, answer: str, reference: ChoiceReference, language: str) -> tuple[int, ...]:
        correct = reference.correct
        if correct is None:
            raise DataError(
                f"the reference {reference.answer!r} is none of the choices {list(reference.choices)}; repair the row"
            )
        return int(chosen(answer, reference.choices) == correct), 1

    def value(self, hits: int, clips: int) -> float:
        return ratio(hits, clips)


class UnclearChoice(ChoiceAccuracy):
    """Fraction of answers that name no choice, or several."""

    def count(self, answer: str, reference: ChoiceReference, language: str) -> tuple[int, ...]:
        return int(chosen(answer, reference.choices) is None), 1


class MmauAccuracy(ChoiceAccuracy):
    """Accuracy as in the script of MMAU and MMAR: all words of the correct choice, and none of the others'.

    A letter alone is wrong, unless it is a word of the correct choice.
    """

    def count(self, answer: str, reference: ChoiceReference, language: str) -> tuple[int, ...]:
        words, correct = (frozenset(WORD.findall(text.lower())) for text in (answer, reference.text))
        others = (frozenset(WORD.findall(choice.lower())) for choice in reference.choices)
        wrong = frozenset().union(*(choice - correct for choice in others))
        return int(bool(words) and correct <= words and not words & wrong), 1


class AirBenchAccuracy(ChoiceAccuracy):
    """Accuracy as in AIR-Bench's script of its foundation part: the first character, or else the second to last, is A to D.

    Other answers are left out of the denominator.
    """

    def count(self, answer: str, reference: ChoiceReference, language: str) -> tuple[int, ...]:
        letter = airbench_letter(answer)
        if letter is None:
            return 0, 0
        if reference.correct is None:
            raise DataError(
                f"the reference {reference.answer!r} is none of its choices, where AIR-Bench's script stops; repair the row"
            )
        return int(letter == LETTERS[reference.correct]), 1

    def value(self, hits: int, clips: int) -> float:
        return ratio(hits, clips, "no answer begins with a letter from A to D")


def airbench_letter(answer: str) -> str | None:
    """Letter that AIR-Bench's script reads; None where it counts a failure.

    >>> airbench_letter("B. a dog"), airbench_letter("The answer is C."), airbench_letter("a dog")
    ('B', 'C', None)
    """
    text = answer.strip().replace("\n", "")
    if not text or text == "None":
        return None
    candidates = (text[0], text[-2] if len(text) > 1 else "")
    return next((letter for letter in candidates if letter and letter in "ABCD"), None)


class LmmsEvalAccuracy(ListMetric):
    """Accuracy as in lmms-eval for MMAU and AIR-Bench: an answer without a letter is replaced by a random one.

    The generator starts from lmms-eval's default seed and draws in the order of the file.
    """

    num_letters: int | None = 4  # None: as many as there are choices

    def clip(self, answer: str, reference: ChoiceReference, language: str) -> list[Any]:
        letters = LETTERS[: self.num_letters or len(reference.choices)]
        return [
            reference.position,
            letters,
            self.letter(answer, letters, reference),
            *self.expected(reference),
        ]

    def result(self, answer: str, reference: ChoiceReference) -> tuple[int, int] | None:
        """Hit and clip of one answer; None where a letter is drawn."""
        _, letters, letter, expected, choices = self.clip(answer, reference, "")
        return None if letter is None else (int(_is_hit(letters.index(letter), expected, choices)), 1)

    def letter(self, answer: str, letters: str, reference: ChoiceReference) -> str | None:
        """Letter in the answer; None where one is drawn."""
        return lmms_eval_letter(answer, letters)

    def expected(self, reference: ChoiceReference) -> tuple[str, list[str]]:
        """Correct answer, and the choices that it is compared with."""
        return reference.text.strip().lower(), [choice.strip().lower() for choice in reference.choices]

    def value(self, clips: Sequence[Sequence[Any]]) -> float:
        draw = random.Random(LMMS_EVAL_SEED)
        hits = 0
        for _, letters, letter, expected, choices in sorted(clips, key=lambda clip: clip[0]):
            index = letters.index(letter or draw.choice(letters))
            hits += _is_hit(index, expected, choices)
        return ratio(hits, len(clips))


def _is_hit(index: int, expected: str, choices: Sequence[str]) -> bool:
    return index < len(choices) and choices[index] == expected


class LmmsEvalLetterAccuracy(LmmsEvalAccuracy):
    """Accuracy as in lmms-eval for AIR-Bench: letters of the choices that there are, compared as letters."""

    num_letters = None

    def letter(self, answer: str, letters: str, reference: ChoiceReference) -> str | None:
        return lmms_eval_letter(answer.strip(), letters)

    def expected(self, reference: ChoiceReference) -> tuple[str, list[str]]:
        correct = reference.correct
        return "" if correct is None else LETTERS[correct], list(LETTERS[: len(reference.choices)])


class LmmsEvalMmarAccuracy(LmmsEvalLetterAccuracy):
    """Accuracy as in lmms-eval for MMAR, which also finds the text of a choice in answers of more than five words."""

    def letter(self, answer: str, letters: str, reference: ChoiceReference) -> str | None:
        return _mmar_letter(answer, letters, reference.choices)


def lmms_eval_letter(answer: str, letters: str) -> str | None:
    """Letter that lmms-eval reads in an answer; None where it draws one.

    >>> lmms_eval_letter("(B) or A", "ABCD"), lmms_eval_letter("I choose C", "ABCD"), lmms_eval_letter("dog", "ABCD")
    ('B', 'C', None)
    """
    text = _without_ends(answer)
    for form in ("({})", " {} ", "{}."):
        found = [letter for letter in letters if form.format(letter) in text]
        if found:
            # The last one with blanks around it, also where brackets were found.
            return max(found, key=lambda letter: (text.rfind(f" {letter} "), -letters.index(letter)))
    return None


def _mmar_letter(answer: str, letters: str, choices: Sequence[str]) -> str | None:
    text = _without_ends(answer)
    for form, place in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        found = [letter for letter in letters if form.format(letter) in text]
        if found:
            return max(found, key=lambda letter: (text.rfind(place.format(letter)), -letters.index(letter)))
    if len(text.split()) <= 5:
        return None
    places = {
        letter: text.lower().rfind(choice.strip().lower())
        for letter, choice in zip(letters, choices, strict=True)
    }
    found = [letter for letter in letters if places[letter] >= 0]
    return max(found, key=lambda letter: (places[letter], -letters.index(letter)), default=None)


def _without_ends(answer: str) -> str:
    """Answer between two blanks, without marks at its ends, which are removed one kind after the other."""
    for mark in ",.!?;:'":
        answer = answer.strip(mark)
    return f" {answer} "


def chosen(answer: str, choices: Sequence[str]) -> int | None:
    """Index of the choice that an answer names by its letter or its text; None if it names none or several.

    >>> choices = ["man", "woman", "old man"]
    >>> [chosen(answer, choices) for answer in ("B", "(b)", "An old man.", "C. old man", "The answer is A", "man or woman")]
    [1, 1, 2, 2, 0, None]
    """
    text = strip_markup(answer).strip()
    whole = [i for i, choice in enumerate(choices) if _same(choice, text)]
    if whole:
        return whole[0]
    if match := LONE_LETTER.fullmatch(text):
        return _index(match[1].upper(), choices)
    if match := LEADING_LETTER.fullmatch(text):
        index = _index(match[1], choices)
        named = _mentioned(match[2], choices)
        return None if named and index not in named else index
    letters = {match.upper() for match in NAMED_LETTER.findall(text) if match.isupper()}
    if letters:
        return _index(letters.pop(), choices) if len(letters) == 1 else None
    named = _mentioned(text, choices)
    return named.pop() if len(named) == 1 else None


def _index(letter: str, choices: Sequence[str]) -> int | None:
    index = LETTERS.index(letter)
    return index if index < len(choices) else None


def _mentioned(text: str, choices: Sequence[str]) -> set[int]:
    """Choices whose words occur in a text in a row; one that lies within the words of another is left out."""
    words = _words(text)
    spans = {}
    for i, choice in enumerate(choices):
        wanted = _words(choice)
        starts = range(len(words) - len(wanted) + 1) if wanted else ()
        spans[i] = [(at, at + len(wanted)) for at in starts if words[at : at + len(wanted)] == wanted]
    longest = {(start, end) for found in spans.values() for start, end in found}
    return {
        i
        for i, found in spans.items()
        if any(
            not any(a <= start and end <= b and (a, b) != (start, end) for a, b in longest)
            for start, end in found
        )
    }


def _same(first: str, second: str) -> bool:
    return _words(first) == _words(second) != []


def _words(text: str) -> list[str]:
    return CLEAN_WORD.findall(unicodedata.normalize("NFKC", text).casefold())
