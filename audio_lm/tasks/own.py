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

IN_QUESTIONS = ("text", "value", "integer")
"""Kinds of labels that can be part of a question."""

LANGUAGE_NAME = "target_language_name"
"""Field of a question that is derived from the label ``target_language``."""


def with_own_tasks(own: Mapping[str, OwnTaskConfig]) -> dict[str, Task]:
    """All tasks of a recipe: those in code, and its own."""
    return TASKS | {name: own_task(name, config) for name, config in own.items()}


def own_task(name: str, config: OwnTaskConfig) -> Task:
    """Task of a recipe, whose settings have been checked."""
    templates = (*config.prompt, *config.prompt_zh, config.tags or "")
    needs = [field for template in templates for field in _fields(template) if field != "language"]
    return Task(
        name=name,
        prompts=tuple(config.prompt),
        prompts_zh=tuple(config.prompt_zh),
        needs=tuple(dict.fromkeys([config.label, *map(_label_of, needs)])),
        target=any_label(config.label),
        metrics=tuple(config.metric),
        tags=config.tags or "",
    )


def check_new_name(name: str) -> None:
    """Check that no task in code has a name.

    Raises:
        RecipeError: one has.
    """
    if name in TASKS or name == CHAT:
        raise RecipeError(f"task {name!r} exists already -- expected a new name; rename it")


def check_answer(label: str) -> None:
    """Check that a label can be an answer.

    Raises:
        RecipeError: it is a list of rows or a conversation, reserved, or no name of a label.
    """
    if label in LABELS:
        if LABELS[label].kind not in ANSWERS:
            raise RecipeError(
                f"label {label!r} is no text, number or list of texts -- expected one that can be an answer; choose another"
            )
    elif not is_own_name(label):
        raise RecipeError(
            f"label {label[:80]!r} is reserved, or no name of a label -- expected {RULE}; choose another"
        )


def check_questions(questions: Iterable[str], *, label: str) -> None:
    """Check the questions of a task.

    Args:
        label: the answer, which a question must not contain.

    Raises:
        RecipeError: there is none, or one is empty, has a special token, or braces that are not those of a label.
    """
    if not (found := list(questions)):
        raise RecipeError("a task needs a question; set its prompt")
    for question in found:
        if not question.strip() or MARKUP.search(question):
            raise RecipeError(
                f"question {question!r} is empty or has a special token -- expected words; correct it (tokens belong in "
                f"`tags`)"
            )
        check_fields(question, label=label)


def check_fields(template: str, *, label: str) -> None:
    """Check the labels in braces in a question or in tags.

    Raises:
        RecipeError: one is no name of a label, or it is the answer.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise RecipeError(f"{template!r}: {error}; write {{{{ and }}}} for braces") from error
    for _, field, form, conversion in parts:
        if field is not None and (form or conversion or not _is_field(field)):
            raise RecipeError(
                f"{template!r} has {{{field}}} -- expected the name of a label with a text or a number; correct it, or "
                f"write {{{{ and }}}} for braces"
            )
        if field == label:
            raise RecipeError(f"{template!r} has the label {label!r}, which is the answer; remove it")


def _is_field(name: str) -> bool:
    known = LABELS.get(_label_of(name))
    return OWN_NAME.fullmatch(name) is not None and (known is None or known.kind in IN_QUESTIONS)


def _label_of(field: str) -> str:
    return "target_language" if field == LANGUAGE_NAME else field


def _fields(template: str) -> list[str]:
    return [field for _, field, _, _ in Formatter().parse(template) if field]
