"""Questions with choices in the form that AIR-Bench and the benchmarks of multiple choice share."""

from collections.abc import Mapping, Sequence
from typing import Any

from audio_lm.common.errors import DataError

LETTERS = "ABCDEFGHIJ"


def choice_labels(question: str, choices: Sequence[str], answer: str, where: str) -> dict[str, str]:
    r"""Labels of a question: its choices as lines with letters, and the correct one with its letter.

    Raises:
        DataError: the answer is none of the choices, or there are too many.

    >>> choice_labels("Who?", ["man", "woman"], "woman", "row 1")
    {'question': 'Who?\nA. man\nB. woman', 'answer': 'B. woman'}
    """
    if answer not in choices or len(choices) > len(LETTERS):
        raise DataError(f"{where}: answer {answer!r} is none of its choices {list(choices)}; repair the row")
    lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, choices, strict=False)]
    return {"question": "\n".join([question, *lines]), "answer": lines[choices.index(answer)]}


def required(row: Mapping[str, Any], keys: Sequence[str], where: str) -> list[Any]:
    """Values of keys that every row has.

    Raises:
        DataError: one is absent.
    """
    for key in keys:
        if row.get(key) is None:
            raise DataError(f"{where} has no {key}; is the file the publisher's?")
    return [row[key] for key in keys]
