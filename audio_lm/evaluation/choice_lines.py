r"""Choices that a question lists as lines ``A. text``, ``(A) text`` or ``A: text``; the only place that reads them.

The allowed answers of a closed benchmark, the choices that metrics compare with, and rotated questions follow from it.
"""

import re
from collections.abc import Sequence

LETTERS = "ABCDEFGHIJ"
CHOICE = re.compile(r"((?:^|(?<=\s))\(?)([A-J])([).:][^\S\n]*)(\S.*?)([^\S\n]*)$", re.MULTILINE)
"""Groups: what is before the letter, the letter, what is after it, the text of the choice, blanks."""


def choice_lines(text: str) -> list[re.Match[str]]:
    r"""Lines of the choices, from the last line with an A on, in the order of their letters; none if fewer than two.

    >>> [line[4] for line in choice_lines("Who speaks?\nA. man\nB. woman\nAnswer with the letter.")]
    ['man', 'woman']
    """
    found: list[re.Match[str]] = []
    for match in CHOICE.finditer(text):
        if match[2] == "A":
            found = [match]
        elif found and match[2] == LETTERS[len(found) % len(LETTERS)]:
            found.append(match)
    return found if len(found) > 1 else []


def with_texts(text: str, lines: Sequence[re.Match[str]], texts: Sequence[str]) -> str:
    """The same text with other texts in the lines of its choices."""
    pieces, end = [], 0
    for line, replacement in zip(lines, texts, strict=True):
        pieces += [text[end : line.start(4)], replacement]
        end = line.end(4)
    return "".join([*pieces, text[end:]])
