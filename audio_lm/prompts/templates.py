"""A task's template with the labels of a clip filled in.

What stands as ``<|...|>`` in a template becomes a token; what a label brings
along never does.
"""

from string import Formatter

from audio_lm.common.errors import DataError
from audio_lm.common.languages import LANGUAGE_LABELS, check_tag, chinese_name_of_language, name_of_language
from audio_lm.common.markup import TAG
from audio_lm.tasks.task import Labels, Markup


def fill(template: str, labels: Labels, *, is_chinese: bool = False) -> list[str]:
    """The parts of a template, its tags as ``Markup`` and all other text as words.

    Args:
        template: with holes that are label keys, or ``target_language_name``.
        labels: of the clip.
        is_chinese: the template is in Chinese, and so are names in it.

    Raises:
        DataError: a label that the template asks for is missing or no language, or the tag of a language that has none.
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
    for key in keys.intersection(LANGUAGE_LABELS):
        name = chinese_name_of_language if is_chinese else name_of_language
        values[f"{key}_name"] = name(labels[key])
    return [
        _tag(part, values) if TAG.fullmatch(part) else part.format(**values)
        for part in TAG.split(template)
        if part
    ]


def asks_for_tag(template: str) -> bool:
    """Whether a template has the tag of a clip's language in it."""
    return any(f"<|{{{key}}}|>" in template for key in LANGUAGE_LABELS)


def _tag(part: str, values: Labels) -> Markup:
    for key in LANGUAGE_LABELS:
        if f"{{{key}}}" in part:
            check_tag(values[key])
    return Markup(part.format(**values))
