"""Language codes: one per language, parsed from names, tags and codes.

Manifests write ``English``, ``en-US``, ``en_us`` or ``eng``; the rest of the project compares codes only.
A code is ISO 639-1 (two letters) if the language has one, else ISO 639-3. An individual language becomes its
macrolanguage (``cmn`` -> ``zh``), except those with their own code in speech corpora, such as ``yue``.

Source: BCP 47, CLDR aliases and English names of the IANA registry, all from ``langcodes``.
"""

import re
from functools import cache, lru_cache
from typing import Any

import langcodes
from langcodes.registry_parser import parse_registry

from audio_lm.common.errors import DataError

UNKNOWN_LANGUAGE = "unknown"
"""Language of a clip without speech or without a language label."""

NAME_OF_LANGUAGE = {
    "en": "English",
    "zh": "Chinese",
    "de": "German",
    "es": "Spanish",
    "ko": "Korean",
    "fr": "French",
    "ja": "Japanese",
    "it": "Italian",
}
"""Languages with a tag in the released Qwen-Audio vocabulary, in the order of their token ids."""

CHINESE_NAME_OF_LANGUAGE = {
    "en": "英语",
    "zh": "中文",
    "de": "德语",
    "es": "西班牙语",
    "ko": "韩语",
    "fr": "法语",
    "ja": "日语",
    "it": "意大利语",
    "ar": "阿拉伯语",
    "hi": "印地语",
    "id": "印尼语",
    "ms": "马来语",
    "nl": "荷兰语",
    "pl": "波兰语",
    "pt": "葡萄牙语",
    "ru": "俄语",
    "th": "泰语",
    "tr": "土耳其语",
    "uk": "乌克兰语",
    "vi": "越南语",
    "yue": "粤语",
}

_EVERYDAY_NAMES = {"el": "Greek", "ht": "Haitian Creole", "ky": "Kyrgyz", "or": "Odia"} | {
    "pa": "Punjabi",
    "ps": "Pashto",
    "ug": "Uyghur",
    "yue": "Cantonese",
}
"""Usual names of languages whose first name in the registry is another one."""

LANGUAGE_LABELS = ("language", "target_language")

_OTHER_NAMES = {
    "bokmal": "nb",
    "farsi": "fa",
    "mandarin": "zh",
    "myanmar": "my",
    "nynorsk": "nn",
    "slovene": "sl",
}
_FIRST_NAMES = (
    {name.casefold(): code for code, name in (NAME_OF_LANGUAGE | _EVERYDAY_NAMES).items()}
    | {name: code for code, name in CHINESE_NAME_OF_LANGUAGE.items()}
    | _OTHER_NAMES
)
"""Names that take precedence over the registry, which is slow to parse."""

_NO_LANGUAGE = frozenset({"", UNKNOWN_LANGUAGE, "und", "zxx", "mul", "mis"})
_TAG = re.compile(r"[a-z]{2,3}([-_][a-z0-9]+)*")
_WORD = re.compile(r"[^\W\d_]+")
_REMARK = re.compile(r"\s*\(.*?\)")


def language_code(written: object) -> str:
    """Code of a language given as a code, a tag or an English name.

    Raises:
        DataError: unknown language.

    >>> [language_code(text) for text in ("English", "en_US", "eng", "Mandarin", "zh-CN", "Cantonese", "pt-BR")]
    ['en', 'en', 'en', 'zh', 'zh', 'yue', 'pt']
    """
    code = find_language(str(written))
    if code is None:
        raise DataError(
            f"language {written!r} is unknown -- expected an ISO 639 code, a tag such as pt-BR, an English name "
            f"such as Portuguese, or {UNKNOWN_LANGUAGE}; correct it"
        )
    return code


@lru_cache(maxsize=4096)
def find_language(written: str) -> str | None:
    """Code of a language; None if there is no such language.

    ``unknown``, an empty text and codes without a specific language (``und``, ``mul``) give ``unknown``.
    """
    if written in NAME_OF_LANGUAGE:
        return written
    text = " ".join(written.casefold().strip(" \t\n<|>").split())
    if text in _NO_LANGUAGE:
        return UNKNOWN_LANGUAGE
    return (
        _FIRST_NAMES.get(text)
        or _code_of_tag(re.split("[.@]", text)[0])
        or _code_of_name().get(text)
        or _code_in_words(text)
    )


def with_language_codes(labels: dict[str, Any]) -> dict[str, Any]:
    """Replace the languages in a clip's labels by codes, in place.

    An unknown language is kept: a task that needs it refuses it, other tasks ignore it.
    """
    for key in LANGUAGE_LABELS:
        if (written := labels.get(key)) is not None:
            labels[key] = find_language(str(written)) or written
    return labels


def name_of_language(code: str) -> str:
    """English name of a language, as used in prompts and plain answers.

    Raises:
        DataError: unknown language.

    >>> name_of_language("de"), name_of_language("pt")
    ('German', 'Portuguese')
    """
    code = language_code(code)
    return (
        UNKNOWN_LANGUAGE if code == UNKNOWN_LANGUAGE else NAME_OF_LANGUAGE.get(code) or _registry()[code][0]
    )


def chinese_name_of_language(code: str) -> str:
    """Chinese name of a language, or its English name if the table has no Chinese one.

    Raises:
        DataError: unknown language.
    """
    name = name_of_language(code)
    return CHINESE_NAME_OF_LANGUAGE.get(language_code(code), name)


def has_tag(code: str) -> bool:
    """True if the released vocabulary has a tag for a language."""
    return code == UNKNOWN_LANGUAGE or code in NAME_OF_LANGUAGE


def check_tag(code: str) -> None:
    """Check that a language has a tag in the released vocabulary.

    Raises:
        DataError: the language has no tag, or is unknown.
    """
    if not has_tag(code):
        raise DataError(
            f"language {code!r} has no tag -- there are tags for {', '.join(NAME_OF_LANGUAGE)} and {UNKNOWN_LANGUAGE}, "
            f"not for {name_of_language(code)}; set the stage's prompt to natural or chatml, which need none, or label "
            f"the clip {UNKNOWN_LANGUAGE!r}"
        )


def _code_of_tag(text: str) -> str | None:
    if not _TAG.fullmatch(text):
        return None
    try:
        tag = langcodes.standardize_tag(text, macro=True)
        if not langcodes.tag_is_valid(tag):
            return None
    except langcodes.LanguageTagError:
        return None
    code = tag.split("-")[0]
    if code in _NO_LANGUAGE:
        return UNKNOWN_LANGUAGE
    return code if code in NAME_OF_LANGUAGE or code in _registry() else None


def _code_in_words(text: str) -> str | None:
    """Code of the only language named in a description such as ``Singaporean English`` or ``Chinese (Cantonese)``."""
    names = _code_of_name()
    codes = {code for word in _WORD.findall(text) if (code := names.get(word)) and _is_common(code)}
    codes -= {_registry()[code][1] for code in codes}
    return codes.pop() if len(codes) == 1 else None


def _is_common(code: str) -> bool:
    """True if a language's name may be searched in a sentence; many of the 8 000 names are also English words."""
    return len(code) == 2 or code in CHINESE_NAME_OF_LANGUAGE


@cache
def _registry() -> dict[str, tuple[str, str]]:
    """Code -> English name and macrolanguage; without collections, private and special codes."""
    languages = {}
    for row in parse_registry():
        if row["Type"] == "language" and row.get("Scope") not in ("special", "private-use", "collection"):
            name = _EVERYDAY_NAMES.get(row["Subtag"]) or _REMARK.sub("", row["Description"][0])
            languages[row["Subtag"]] = (name, row.get("Macrolanguage", ""))
    return languages


@cache
def _code_of_name() -> dict[str, str]:
    """Lower-case name -> code; of languages with the same name, the first in the registry (shorter codes first)."""
    names = dict(_FIRST_NAMES)
    for row in parse_registry():
        if row["Type"] == "language" and (code := _code_of_tag(row["Subtag"])) not in (
            None,
            UNKNOWN_LANGUAGE,
        ):
            for name in row["Description"]:
                names.setdefault(_REMARK.sub("", name).casefold(), code)
    return names
