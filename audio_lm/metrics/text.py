"""What is taken off a text before it is compared.

``official`` is what Qwen-Audio's released evaluation script does; ``clean`` is
what is fair to a model that writes capitals and commas. Neither knows metrics.

Source: Qwen-Audio, eval_audio/evaluate_asr.py (facts in the mission, section 6).
"""

import re
import unicodedata

MARKUP = re.compile(r"<\|[^|<>]*\|>|</?audio>")
PER_CHARACTER = frozenset({"zh", "ja", "yue"})


def without_markup(text: str) -> str:
    """The words, every tag and time stamp taken out.

    >>> without_markup("<|0.00|>she<|0.67|>sells<|1.01|>")
    'she sells'
    """
    return " ".join(MARKUP.sub(" ", text).split())


def official(text: str, language: str) -> str:
    """As the released script reads a transcript: lower case, punctuation kept.

    >>> official("<|en|>Well , YES.", "en")
    'well, yes.'
    """
    plain = re.sub(r"\s+([!,.?;:])", r"\1", without_markup(text)).lower()
    return " ".join(plain.replace(" ", "")) if language in PER_CHARACTER else plain


def clean(text: str, language: str) -> str:
    """Lower case, no punctuation; Chinese and Japanese one character at a time.

    >>> clean("It's 5 o'clock, Ann.", "en"), clean("你好。", "zh")
    ("it's 5 o'clock ann", '你 好')
    """
    lowered = unicodedata.normalize("NFKC", without_markup(text)).lower()
    kept = "".join(" " if unicodedata.category(c)[0] in "PS" and c != "'" else c for c in lowered)
    words = " ".join(kept.split())
    return " ".join(words.replace(" ", "")) if language in PER_CHARACTER else words


def characters(text: str) -> str:
    """One character a word, blanks left out."""
    return " ".join(text.replace(" ", ""))
