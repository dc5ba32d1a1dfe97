"""Question templates, filled with the labels of a clip.

A ``<|...|>`` in a template becomes a special token; one in a label stays text.
"""

from string import Formatter

from audio_lm.common.errors import DataError
from audio_lm.common.languages import LANGUAGE_LABELS, check_tag, chinese_name_of_language, name_of_language
from audio_lm.common.markup import TAG
from audio_lm.tasks.labels import LABELS
from audio_lm.tasks.targets import label_as_text
from audio_lm.tasks.task import Labels, Markup


def fill(template: str, labels: Labels, *, is_chinese: bool = False) -> list[str]:
    """Fill a template and split it: tags as ``Markup``, all other text as plain strings.

    Args:
        template: with fields in braces, named after labels, or ``target_language_name``.
        labels: of the clip.
        is_chinese: the template is in Chinese; language names in it are Chinese, too.

    Raises:
        DataError: a label of the template is missing, is no known language, or needs a tag that its language lacks.
    """
    keys = fields_of(template)
    if missing := sorted(key for key in keys if labels.get(key) is None):
        raise DataError(
            f"no label {', '.join(map(repr, missing))} -- the question {template!r} needs it; "
            f"label the clip, or remove its source from this task"
        )
    values = {key: labels[key] if key in LABELS else label_as_text(labels, key) for key in keys}
    for key in keys.intersection(LANGUAGE_LABELS):
        name = chinese_name_of_language if is_chinese else name_of_language
        values[f"{key}_name"] = name(labels[key])
    return [
        _tag(part, values) if TAG.fullmatch(part) else part.format(**values)
        for part in TAG.split(template)
        if part
    ]


def fields_of(template: str) -> set[str]:
    """Labels that a template needs.

    >>> sorted(fields_of("Translate <|{language}|> into {target_language_name}"))
    ['language', 'target_language']
    """
    keys = {key for _, key, _, _ in Formatter().parse(template) if key}
    return {"target_language" if key == "target_language_name" else key for key in keys}


def has_language_tag(template: str) -> bool:
    """True if a template contains a language tag to fill."""
    return any(f"<|{{{key}}}|>" in template for key in LANGUAGE_LABELS)


def _tag(part: str, values: Labels) -> Markup:
    for key in LANGUAGE_LABELS:
        if f"{{{key}}}" in part:
            check_tag(values[key])
    return Markup(part.format(**values))
