"""Rendering of a task and its labels in one of three prompt formats."""

from collections.abc import Mapping, Sequence
from typing import Any

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.prompts import natural
from audio_lm.prompts.chatml import TURN_END, render_chatml, render_turns, turns_of
from audio_lm.prompts.conversation import END_TOKEN, Piece
from audio_lm.prompts.natural import answer_in_words, render_natural
from audio_lm.prompts.tags import answer_in_tags, render_tags
from audio_lm.tasks.task import Labels, Task

PROMPTS = ("tags", "natural", "chatml")


def render(
    task: Task,
    labels: Labels,
    *,
    prompt: str,
    choice: int = 0,
    is_evaluation: bool = False,
    with_answer: bool = True,
) -> list[Piece]:
    """Render question and answer of a clip as pieces.

    Args:
        task: whose templates are used.
        labels: of the clip; without answer, only those that the question template uses.
        prompt: one of ``PROMPTS``.
        choice: index of the paraphrase, below ``num_choices``.
        is_evaluation: use the held-out paraphrase, which training never draws.
        with_answer: if false, end where generation starts.

    Raises:
        DataError: a label is missing or has an invalid value.
        RecipeError: unknown prompt format.
    """
    _check_prompt(prompt)
    if prompt == "tags":
        return render_tags(task, labels, with_answer=with_answer)
    in_words = render_natural if prompt == "natural" else render_chatml
    return in_words(task, labels, choice=choice, is_evaluation=is_evaluation, with_answer=with_answer)


def render_answer(task: Task, labels: Labels, *, prompt: str) -> list[Piece]:
    """Render the answer alone: the pieces that ``render`` appends with ``with_answer``.

    Raises:
        DataError: a label is missing or has an invalid value.
    """
    if prompt == "tags":
        return answer_in_tags(task, labels)
    return answer_in_words(task, labels, END_TOKEN if prompt == "natural" else TURN_END)


def render_chat(conversation: Sequence[Mapping[str, Any]], *, with_answer: bool = True) -> list[Piece]:
    """Render the label ``conversation`` in ChatML.

    Raises:
        DataError: the roles do not alternate or the clips are out of order.
    """
    return render_turns(turns_of(conversation), with_answer=with_answer)


def num_choices(task: Task, prompt: str) -> int:
    """Number of choices to draw a paraphrase from; 1 for tags, which have one wording."""
    return 1 if prompt == "tags" else natural.num_choices(task)


def reference(task: Task, labels: Labels, prompt: str) -> str:
    """Reference answer in a prompt format.

    Raises:
        DataError: a label is missing or has an invalid value.
        RecipeError: unknown prompt format.
    """
    _check_prompt(prompt)
    return task.answer(labels) if prompt == "tags" else task.plain_answer(labels)


def _check_prompt(prompt: str) -> None:
    if prompt not in PROMPTS:
        raise RecipeError(unknown("prompt", prompt, PROMPTS, see="audio_lm/prompts/"))
