"""Tasks that a recipe defines itself: a question and the label that answers it."""

from collections.abc import Iterable, Mapping
from string import Formatter

from audio_lm.common.errors import RecipeError
from audio_lm.common.markup import MARKUP
from audio_lm.tasks.config import OwnTaskConfig
from audio_lm.tasks.labels import LABELS, OWN_NAME, RULE, is_own_name
from audio_lm.tasks.registry import CHAT, TASKS
from audio_lm.tasks.targets import any_label
from audio_lm.tasks.task import Task

ANSWERS = ("text", "value", "references", "texts", "integer")
"""Kinds of labels that can be an answer as they are; the others need a row in code."""

LANGUAGE_NAME = "target_language_name"  # a field that templates derive from the label target_language


def with_own_tasks(own: Mapping[str, OwnTaskConfig]) -> dict[str, Task]:
    """All tasks of a recipe: those in code, and its own."""
    return TASKS | {name: own_task(name, config) for name, config in own.items()}


def own_task(name: str, config: OwnTaskConfig) -> Task:
    """Task of a recipe.

    Raises:
        RecipeError: the name is taken, the label cannot be an answer, or a question has no valid form.
    """
    if name in TASKS or name == CHAT:
        raise RecipeError(f"task {name!r} exists already -- expected a new name; rename it")
    _check_label(config.label)
    if not config.prompt:
        raise RecipeError(f"task {name!r} has no question; set its prompt")
    fields = [found for prompt in (*config.prompt, *config.prompt_zh) for found in _fields(prompt)]
    fields += _fields(config.tags, has_markup=True) if config.tags else []
    if config.label in fields:
        raise RecipeError(
            f"task {name!r} has the label {config.label!r} in its question, which is the answer; remove it"
        )
    return Task(
        name=name,
        prompts=tuple(config.prompt),
        prompts_zh=tuple(config.prompt_zh),
        needs=tuple(dict.fromkeys([config.label, *_labels_of(fields)])),
        target=any_label(config.label),
        metrics=tuple(config.metric),
        tags=config.tags or "",
    )


def _check_label(label: str) -> None:
    if label in LABELS and LABELS[label].kind in ANSWERS:
        return
    if label in LABELS or (OWN_NAME.fullmatch(label) and not is_own_name(label)):
        raise RecipeError(
            f"label {label!r} is no text, number or list of texts, or its name is reserved -- expected a label that can be "
            f"an answer; choose another"
        )
    if not is_own_name(label):
        raise RecipeError(f"label {label[:80]!r} -- expected a name of {RULE}; rename it")


def _fields(template: str, *, has_markup: bool = False) -> list[str]:
    """Labels in braces.

    Raises:
        RecipeError: the braces are not those of labels, or a question has a special token.
    """
    if not template.strip() or (not has_markup and MARKUP.search(template)):
        raise RecipeError(
            f"question {template!r} is empty or has a special token -- expected words; correct it (tokens belong in `tags`)"
        )
    try:
        parts = [(name, form or conversion) for _, name, form, conversion in Formatter().parse(template)]
    except ValueError as error:
        raise RecipeError(f"question {template!r}: {error}; write {{{{ and }}}} for braces") from error
    names = [name for name, _ in parts if name is not None]
    for name, rest in parts:
        if name is not None and (rest or not _is_field(name)):
            raise RecipeError(
                f"question {template!r} has {{{name}}} -- expected the name of a label with a text or a number; correct "
                f"it, or write {{{{ and }}}} for braces"
            )
    return names


def _is_field(name: str) -> bool:
    known = LABELS.get("target_language" if name == LANGUAGE_NAME else name)
    return is_own_name(name) if known is None else known.kind in ("text", "value", "integer")


def _labels_of(fields: Iterable[str]) -> list[str]:
    """Labels that fields need; the language of a clip has a default."""
    names = ["target_language" if name == LANGUAGE_NAME else name for name in fields]
    return [name for name in names if name != "language"]
