"""What is taken off a text before it is compared.

``official`` is what Qwen-Audio's released evaluation script does; ``clean`` is
what is fair to a model that writes capitals and commas. Neither knows metrics.

Source: Qwen-Audio, eval_audio/evaluate_asr.py at 0b0e882 (``remove_sp`` and ``compute_wer``).
"""

import re
import unicodedata
from collections import Counter

from audio_lm.common.languages import UNKNOWN_LANGUAGE, find_language
from audio_lm.common.markup import MARKUP

SPEAKER_CHANGE = "<sc>"
PER_CHARACTER = frozenset({"zh", "yue", "wuu", "ja", "ko", "th", "lo", "km", "my"})
"""Written without blanks between words; ko as papers have it. Source of th, lo, my: Whisper, arXiv:2212.04356, section 4.4."""

PER_CHARACTER_OFFICIAL = frozenset({"zh"})
APOSTROPHES = str.maketrans("‘’ʼ", "'''")

LANGUAGE_OF_SCRIPT = {"CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko"} | {
    "THAI": "th",
    "LAO": "lo",
    "KHMER": "km",
    "MYANMAR": "my",
}
"""First word of a letter's Unicode name -> the language that is written so."""

# What a transcript says beside its words: spans in plain answers, types of entities in either form.
PLAIN_SPAN = re.compile(r"\b\d{1,4}\.\d\d-\d{1,4}\.\d\d\s")
ENTITY_TYPE = re.compile(r"<\|startofentitytype\|>.*?<\|endofentitytype\|>", re.DOTALL)
PLAIN_ENTITY = re.compile(r"\[([^\[\]:]*):[^\[\]]*\]")


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
    return " ".join(plain.replace(" ", "")) if language in PER_CHARACTER_OFFICIAL else plain


def clean(text: str, language: str) -> str:
    """The spoken words in lower case, no punctuation; Chinese, Japanese, Korean one character at a time.

    Time spans and the types of entities are no words, in tags or in plain answers.

    >>> clean("It's 5 o'clock, 'Ann'.", "en"), clean("你好。", "zh")
    ("it's 5 o'clock ann", '你 好')
    """
    spoken = PLAIN_ENTITY.sub(r"\1", PLAIN_SPAN.sub(" ", ENTITY_TYPE.sub(" ", text)))
    spoken = without_markup(spoken.replace(SPEAKER_CHANGE, " "))
    lowered = unicodedata.normalize("NFKC", spoken).translate(APOSTROPHES).lower()
    kept = "".join(" " if unicodedata.category(c)[0] in "PS" and c != "'" else c for c in lowered)
    words = " ".join(word for part in kept.split() if (word := part.strip("'")))
    return " ".join(words.replace(" ", "")) if language in PER_CHARACTER else words


def language_of(language: str, reference: str) -> str:
    """The code of the language that a reference is scored in.

    Where it is not known, the script of the reference says it, if its letters outnumber the words in other scripts.

    >>> language_of("zh-CN", "你好"), language_of("unknown", "こんにちは世界"), language_of("unknown", "hello")
    ('zh', 'ja', 'unknown')
    """
    code = find_language(language) or UNKNOWN_LANGUAGE
    if code != UNKNOWN_LANGUAGE or reference.isascii():
        return code
    text = unicodedata.normalize("NFKC", reference)
    languages = list(map(_language_of_letter, text))
    counts = Counter(filter(None, languages))
    if counts["ja"]:
        counts["ja"] += counts.pop(
            "zh", 0
        )  # kana stand only in Japanese, among characters that are Chinese too
    others = "".join(" " if found else letter for letter, found in zip(text, languages, strict=True)).split()
    found, num_letters = counts.most_common(1)[0] if counts else (code, 0)
    return found if num_letters > sum(word[0].isalpha() for word in others) else code


def _language_of_letter(letter: str) -> str:
    script = re.split(r"\W", unicodedata.name(letter, ""))[0]
    return LANGUAGE_OF_SCRIPT.get(script, "") if letter.isalpha() else ""


def characters(text: str) -> str:
    """One character a word, blanks left out."""
    return " ".join(text.replace(" ", ""))
