"""The same labels in three languages of prompts, by one setting."""

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
    """A clip's question and answer as pieces.

    Args:
        task: what is asked.
        labels: of the clip; without answer only those that the question mentions.
        prompt: one of ``PROMPTS``.
        choice: of the paraphrase, below ``num_choices``.
        is_evaluation: ask with the paraphrase that training never draws.
        with_answer: false ends where the model is to go on.

    Raises:
        DataError: a label is missing or has an impossible value.
        RecipeError: there is no such language.
    """
    _check_prompt(prompt)
    if prompt == "tags":
        return render_tags(task, labels, with_answer=with_answer)
    in_words = render_natural if prompt == "natural" else render_chatml
    return in_words(task, labels, choice=choice, is_evaluation=is_evaluation, with_answer=with_answer)


def render_answer(task: Task, labels: Labels, *, prompt: str) -> list[Piece]:
    """The end of what ``render`` gives, which is all that an answer adds to a question.

    Raises:
        DataError: a label is missing or has an impossible value.
    """
    if prompt == "tags":
        return answer_in_tags(task, labels)
    return answer_in_words(task, labels, END_TOKEN if prompt == "natural" else TURN_END)


def render_chat(conversation: Sequence[Mapping[str, Any]], *, with_answer: bool = True) -> list[Piece]:
    """The label ``conversation`` in ChatML.

    Raises:
        DataError: the sides do not alternate or the clips are out of order.
    """
    return render_turns(turns_of(conversation), with_answer=with_answer)


def num_choices(task: Task, prompt: str) -> int:
    """How many numbers a paraphrase is drawn with; tags have one wording."""
    return 1 if prompt == "tags" else natural.num_choices(task)


def reference(task: Task, labels: Labels, prompt: str) -> str:
    """What the answer should be in this language.

    Raises:
        DataError: a label is missing or has an impossible value.
        RecipeError: there is no such language.
    """
    _check_prompt(prompt)
    return task.answer(labels) if prompt == "tags" else task.plain_answer(labels)


def _check_prompt(prompt: str) -> None:
    if prompt not in PROMPTS:
        raise RecipeError(unknown("prompt", prompt, PROMPTS, see="audio_lm/prompts/"))
