"""A task's template with the labels of a clip filled in.

What stands as ``<|...|>`` in a template becomes a token; what a label brings
along never does.
"""

import re
from string import Formatter

from audio_lm.errors import DataError
from audio_lm.tasks.task import Labels, Markup, name_of_language

TAG = re.compile(r"(<\|[^|<>]*\|>)")
LANGUAGE_KEYS = ("language", "target_language")
CHINESE_NAME_OF_LANGUAGE = {
    "en": "英语",
    "zh": "中文",
    "de": "德语",
    "es": "西班牙语",
    "ko": "韩语",
    "fr": "法语",
    "ja": "日语",
    "it": "意大利语",
}


def fill(template: str, labels: Labels, *, is_chinese: bool = False) -> list[str]:
    """The parts of a template, its tags as ``Markup`` and all other text as words.

    Args:
        template: with holes that are label keys, or ``target_language_name``.
        labels: of the clip.
        is_chinese: the template is in Chinese, and so are names in it.

    Raises:
        DataError: a label that the template asks for is missing, or is a language without a tag.
    """
    keys = {key for _, key, _, _ in Formatter().parse(template) if key}
    if "target_language_name" in keys:
        keys = keys - {"target_language_name"} | {"target_language"}
    if missing := sorted(key for key in keys if labels.get(key) is None):
        raise DataError(
            f"no label {', '.join(map(repr, missing))} -- the question {template!r} needs it; "
            f"label the clip, or take its source out of this task"
        )
    values = {key: labels[key] for key in keys}
    for key in keys.intersection(LANGUAGE_KEYS):
        values[f"{key}_name"] = _name(labels[key], is_chinese=is_chinese)
    return [
        Markup(part.format(**values)) if TAG.fullmatch(part) else part.format(**values)
        for part in TAG.split(template)
        if part
    ]


def _name(code: str, *, is_chinese: bool) -> str:
    name = name_of_language(code)
    return CHINESE_NAME_OF_LANGUAGE.get(code, name) if is_chinese else name
