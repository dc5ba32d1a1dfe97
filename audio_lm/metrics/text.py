"""Text normalization before comparison, and the language of a reference.

``normalize`` removes case and punctuation, so that a model that writes them is not penalized. The normalization of
published evaluation scripts is in ``published_text``.
"""

import re
import unicodedata
from collections import Counter

from audio_lm.common.languages import UNKNOWN_LANGUAGE, find_language
from audio_lm.common.markup import MARKUP

SPEAKER_CHANGE = "<sc>"
PER_CHARACTER = frozenset({"zh", "yue", "wuu", "ja", "ko", "th", "lo", "km", "my"})
"""Languages scored per character: written without spaces between words, and Korean, as in papers.

Source of th, lo, my: Whisper, arXiv:2212.04356, section 4.4."""

APOSTROPHES = str.maketrans("‘’ʼ", "'''")

LANGUAGE_OF_SCRIPT = {"CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko"} | {
    "THAI": "th",
    "LAO": "lo",
    "KHMER": "km",
    "MYANMAR": "my",
}
"""First word of a letter's Unicode name -> language with this script."""

# Parts of a transcript that are no words: time spans in plain answers, entity types in both forms.
PLAIN_SPAN = re.compile(r"\b\d{1,4}\.\d\d-\d{1,4}\.\d\d\s")
ENTITY_TYPE = re.compile(r"<\|startofentitytype\|>.*?<\|endofentitytype\|>", re.DOTALL)
PLAIN_ENTITY = re.compile(r"\[([^\[\]:]*):[^\[\]]*\]")


def strip_markup(text: str) -> str:
    """Remove every tag and time stamp.

    >>> strip_markup("<|0.00|>she<|0.67|>sells<|1.01|>")
    'she sells'
    """
    return " ".join(MARKUP.sub(" ", text).split())


def plain_transcript(text: str) -> str:
    """Transcript without time spans, entity types and tags, as markup and as plain text."""
    spoken = PLAIN_ENTITY.sub(r"\1", PLAIN_SPAN.sub(" ", ENTITY_TYPE.sub(" ", text)))
    return strip_markup(spoken.replace(SPEAKER_CHANGE, " "))


def normalize(text: str, language: str) -> str:
    """Words in lower case without punctuation; languages of ``PER_CHARACTER`` have spaces between characters.

    In order: time spans, entity types and tags are removed, as markup and as plain text; NFKC (full-width letters become
    plain ones); lower case; every character of the Unicode categories P and S becomes a space, except apostrophes
    inside a word. Nothing else changes: diacritics, spellings, contractions, numbers (``20`` is not ``twenty``) and
    Chinese characters (traditional or simplified) stay as written.

    >>> normalize("It's 5 o'clock, 'Ann'.", "en"), normalize("你好。", "zh")
    ("it's 5 o'clock ann", '你 好')
    """
    lowered = unicodedata.normalize("NFKC", plain_transcript(text)).translate(APOSTROPHES).lower()
    kept = "".join(" " if unicodedata.category(c)[0] in "PS" and c != "'" else c for c in lowered)
    words = " ".join(word for part in kept.split() if (word := part.strip("'")))
    return " ".join(words.replace(" ", "")) if language in PER_CHARACTER else words


def language_of(language: str, reference: str) -> str:
    """Language code with which a reference is scored.

    An unknown language is detected from the script of the reference, if letters in that script outnumber words in
    other scripts.

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
        # Kana occur only in Japanese, which is also written with Chinese characters.
        counts["ja"] += counts.pop("zh", 0)
    others = "".join(" " if match else letter for letter, match in zip(text, languages, strict=True)).split()
    detected, num_letters = counts.most_common(1)[0] if counts else (code, 0)
    return detected if num_letters > sum(word[0].isalpha() for word in others) else code


def _language_of_letter(letter: str) -> str:
    script = re.split(r"\W", unicodedata.name(letter, ""))[0]
    return LANGUAGE_OF_SCRIPT.get(script, "") if letter.isalpha() else ""


def split_characters(text: str) -> str:
    """Separate all characters by spaces, for CER."""
    return " ".join(text.replace(" ", ""))
