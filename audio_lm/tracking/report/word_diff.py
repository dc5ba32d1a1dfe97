"""What an answer has wrong, word by word, for a reader's eye; scoring is done in ``metrics``."""

import re
from typing import Literal, NamedTuple

from audio_lm.common.markup import TAG
from audio_lm.common.word_timestamps import STAMP

Kind = Literal["same", "near", "wrong", "missing", "extra"]

WITHOUT_BLANKS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Chinese characters
UNIT = re.compile(rf"{TAG.pattern}|[{WITHOUT_BLANKS}]|[^\s<{WITHOUT_BLANKS}]+|<")
NEAR_SECONDS = 0.1
COST_OF_NEAR = 0.25
COST_OF_WRONG = 1.1  # over 1, so that of equally good alignments the one with more right words is shown
MAX_CELLS = 1_000_000  # of the alignment; a second


class Piece(NamedTuple):
    """A word, a character of a script without blanks, or a markup token."""

    text: str
    kind: Kind
    is_spaced: bool  # a blank stands before it


def word_diff(reference: str, answer: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces, each marked by what became of it.

    "near" is a word that differs in case or punctuation only, or a time stamp
    that is off by at most 100 ms.

    >>> [piece.kind for piece in word_diff("two four", "Two")[0]]
    ['near', 'missing']
    """
    theirs, ours = _units(reference), _units(answer)
    kinds_theirs, kinds_ours = _kinds([text for text, _ in theirs], [text for text, _ in ours])
    return (
        [Piece(text, kind, is_spaced) for (text, is_spaced), kind in zip(theirs, kinds_theirs, strict=True)],
        [Piece(text, kind, is_spaced) for (text, is_spaced), kind in zip(ours, kinds_ours, strict=True)],
    )


def _units(text: str) -> list[tuple[str, bool]]:
    found = list(UNIT.finditer(text))
    return [(unit.group(), unit.start() > 0 and text[unit.start() - 1].isspace()) for unit in found]


def _kinds(theirs: list[str], ours: list[str]) -> tuple[list[Kind], list[Kind]]:
    kinds_theirs: list[Kind] = ["missing"] * len(theirs)
    kinds_ours: list[Kind] = ["extra"] * len(ours)
    if len(theirs) * len(ours) > MAX_CELLS:
        return kinds_theirs, kinds_ours
    for i, j in _pairs(theirs, ours):
        cost = _cost(theirs[i], ours[j])
        kind: Kind = "same" if cost == 0 else "near" if cost == COST_OF_NEAR else "wrong"
        kinds_theirs[i] = kinds_ours[j] = kind
    return kinds_theirs, kinds_ours


def _pairs(theirs: list[str], ours: list[str]) -> list[tuple[int, int]]:
    """Places that stand for each other in a cheapest alignment."""
    rows = [[float(j) for j in range(len(ours) + 1)]]
    for i, word in enumerate(theirs, start=1):
        row = [float(i)]
        for j, other in enumerate(ours, start=1):
            row.append(min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + _cost(word, other)))
        rows.append(row)
    pairs = []
    i, j = len(theirs), len(ours)
    while i and j:
        if rows[i][j] == rows[i - 1][j - 1] + _cost(theirs[i - 1], ours[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif rows[i][j] == rows[i - 1][j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs


def _cost(word: str, other: str) -> float:
    if word == other:
        return 0.0
    stamp, other_stamp = STAMP.fullmatch(word), STAMP.fullmatch(other)
    if stamp and other_stamp:
        # Hundredths, because 0.3 - 0.2 > 0.1 in floats.
        off = round(100 * float(stamp[1])) - round(100 * float(other_stamp[1]))
        return COST_OF_NEAR if abs(off) <= round(100 * NEAR_SECONDS) else COST_OF_WRONG
    if stamp or other_stamp:
        return 2.5  # rather missing and extra than one for the other
    bare, other_bare = _bare(word), _bare(other)
    return COST_OF_NEAR if bare and bare == other_bare else COST_OF_WRONG


def _bare(word: str) -> str:
    return re.sub(r"[^\w]", "", word).casefold()
