"""Texts that a benchmark and the training data have in common.

Only texts of some length are compared: answers such as a label, a digit or a command are equal by design. A text, or an n-gram,
that many training rows have is a phrase of the corpus and not a copy of the benchmark.

Source: GPT-3, arXiv:2005.14165, appendix C: n-grams of 8 to 13 words, without those in more than 10 training documents.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from audio_lm.metrics.text import PER_CHARACTER, language_of, normalize

MIN_WORDS = 8
"""Texts with fewer words are not compared."""

GRAM_WORDS = 13
"""Consecutive words that two texts have in common."""

CHARACTERS_PER_WORD = 2  # in languages that are compared per character; ours
MAX_ROWS = 10
"""Training rows with a text, above which it is a phrase of the corpus."""

Row = tuple[int, int]
"""Number of a cut-set, and row in it."""


class TextKeys(NamedTuple):
    """Strings of a text that are compared."""

    whole: str | None
    """The normalized text; None if it is too short."""

    grams: list[str]
    """Its n-grams; empty if it has at most as many words as one."""


def keys_of_text(text: str, language: str) -> TextKeys:
    """Normalize a text and split it into n-grams.

    >>> keys_of_text("Seven.", "en")
    TextKeys(whole=None, grams=[])
    """
    code = language_of(language, text)
    factor = CHARACTERS_PER_WORD if code in PER_CHARACTER else 1
    words = normalize(text, code).split()
    if len(words) < MIN_WORDS * factor:
        return TextKeys(None, [])
    length = GRAM_WORDS * factor
    starts = range(len(words) - length + 1) if len(words) >= length else ()
    return TextKeys(" ".join(words), [" ".join(words[start : start + length]) for start in starts])


class TextMatch(NamedTuple):
    """A text of a benchmark that training has."""

    test: Row
    training: Row
    """The first training row with it."""

    is_equal: bool
    """The whole text is equal; else an n-gram."""


@dataclass
class TextIndex:
    """Texts of the benchmarks, and the training rows that have them."""

    tests: defaultdict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    """Text or n-gram -> rows of benchmarks."""

    wholes: set[str] = field(default_factory=set)
    found: defaultdict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    """Text or n-gram of a benchmark -> training rows, ``MAX_ROWS`` + 1 at most."""

    num_compared: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Cut-set of a benchmark -> rows whose text is long enough."""

    def add_test(self, row: Row, text: str, language: str) -> None:
        """Add the reference of a benchmark's row."""
        keys = keys_of_text(text, language)
        if keys.whole is None:
            return
        self.num_compared[row[0]] += 1
        self.wholes.add(keys.whole)
        for key in {keys.whole, *keys.grams}:
            self.tests[key].append(row)

    def add_training(self, row: Row, text: str, language: str) -> None:
        """Compare the reference of a training row with those of the benchmarks."""
        keys = keys_of_text(text, language)
        if keys.whole is None:
            return
        for key in {keys.whole, *keys.grams}:
            if key in self.tests and len(self.found[key]) <= MAX_ROWS:
                self.found[key].append(row)

    def matches(self) -> Iterator[TextMatch]:
        """Rows of benchmarks with a text that training has; several of one row are possible."""
        for key, rows in self.found.items():
            if len(rows) <= MAX_ROWS:
                for test in self.tests[key]:
                    for row in rows:
                        yield TextMatch(test, row, key in self.wholes)

    def repeated(self) -> set[Row]:
        """Rows of benchmarks whose whole text more than ``MAX_ROWS`` training rows have."""
        keys = [key for key, rows in self.found.items() if len(rows) > MAX_ROWS and key in self.wholes]
        return {row for key in keys for row in self.tests[key]}
