"""Chinese and Cantonese in which equal texts are equal: simplified characters by OpenCC, numbers as words by WeText.

For the clean error rate ``wer_wetext``; the texts of published scripts are in ``spoken_chinese`` and ``published_text``. Both
packages belong to the extra ``eval``. Their versions are exact, because they decide scores.
"""

import re
import unicodedata
from collections.abc import Collection
from functools import cache, lru_cache
from typing import Protocol

from audio_lm.common.errors import missing_extra
from audio_lm.metrics.text import language_of, normalize, plain_transcript

LANGUAGES = frozenset({"zh", "yue", "wuu"})
"""Languages that are written with these characters."""

CLAUSE = re.compile(r"[^，。！？；、,!?;\s]+|[，。！？；、,!?;\s]+")
"""WeText's time grows with the length of a text; no number reaches over these marks, except a comma between digits."""

THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
TWO_BEFORE_UNIT = re.compile("两(?=[百千万亿])")
READINGS = str.maketrans("幺〇", "一零")
PURPOSE = "wer_wetext of Chinese"


class Convert(Protocol):
    """Function from one text to another."""

    def __call__(self, text: str, /) -> str: ...


def normalize_clean_chinese(text: str, language: str) -> str:
    """Characters separated by spaces, without punctuation; other languages as ``normalize``.

    After WeText, both readings of a two before a unit, of a one and of a zero are the same.

    Raises:
        UserError: a package is not installed.

    >>> normalize_clean_chinese("2個蘋果，兩千兩百元。", "yue"), normalize_clean_chinese("2,200元", "zh")
    ('两 个 苹 果 二 千 二 百 元', '二 千 二 百 元')
    """
    if language not in LANGUAGES:
        return normalize(text, language)
    plain = THOUSANDS.sub("", unicodedata.normalize("NFKC", plain_transcript(text)))
    simplified = _to_simplified()(plain)
    words = "".join(map(_in_words, CLAUSE.findall(simplified)))
    return normalize(TWO_BEFORE_UNIT.sub("二", words).translate(READINGS), "zh")


def check_clean_chinese(languages: Collection[str]) -> None:
    """Check that texts in these languages can be normalized.

    Raises:
        UserError: a package is not installed.
    """
    if any(language_of(language, "") in LANGUAGES for language in languages):
        _to_simplified()
        _wetext()


@lru_cache(maxsize=10_000)  # most clauses of an answer are those of its reference
def _in_words(clause: str) -> str:
    """A clause with its numbers as words; without digits it stays."""
    return _wetext()(clause) if re.search(r"\d", clause) else clause


@cache
def _to_simplified() -> Convert:
    try:
        from opencc import OpenCC
    except ImportError as error:
        raise missing_extra("opencc-python-reimplemented", extra="eval", purpose=PURPOSE) from error
    convert: Convert = OpenCC("t2s").convert
    return convert


@cache
def _wetext() -> Convert:
    try:
        from wetext import Normalizer
    except ImportError as error:
        raise missing_extra("wetext", extra="eval", purpose=PURPOSE) from error
    convert: Convert = Normalizer(lang="zh", operator="tn").normalize
    return convert
