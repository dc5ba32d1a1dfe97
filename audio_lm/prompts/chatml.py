"""Conversations in ChatML, the prompt format of both chat models.

Texts and clips of a turn keep the order of its content. Clips are numbered
through the whole conversation, and a line break follows each. Voice chat and
audio analysis share one system prompt.

Source: Qwen2-Audio, arXiv:2407.10759, section 2; its chat template in ``transformers``.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.prompts.conversation import Clip, Piece, Text, Turn, as_text, markup
from audio_lm.prompts.natural import CLIP_END, CLIP_START, answer_in_words, fill_question
from audio_lm.tasks.task import Labels, Task

TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
SYSTEM_TURN = Turn("system", ("You are a helpful assistant.",))
USER, ASSISTANT = "user", "assistant"


def turns_of(conversation: Sequence[Mapping[str, Any]]) -> list[Turn]:
    """Parse the label ``conversation`` into turns.

    Raises:
        DataError: the conversation is empty, its roles do not alternate, or its clips are out of order.
    """
    turns = [
        Turn(
            row["role"],
            tuple(part["audio"] if "audio" in part else part["text"] for part in row["content"]),
            is_learned=row.get("learn", True),
        )
        for row in conversation
    ]
    roles = [turn.role for turn in turns]
    dialogue = roles[1:] if roles[:1] == [SYSTEM_TURN.role] else roles
    if not dialogue or dialogue != [(USER, ASSISTANT)[index % 2] for index in range(len(dialogue))]:
        raise DataError(
            f"label 'conversation' has the roles {roles} -- expected at most one system turn, then "
            f"alternating user and assistant turns, user first; correct the conversation"
        )
    clips = [part for turn in turns for part in turn.content if isinstance(part, int)]
    if clips != list(range(1, len(clips) + 1)):
        raise DataError(
            f"label 'conversation' has the clips {clips} -- expected each once, numbered from 1 in the order "
            f"of the turns; renumber them"
        )
    return turns


def render_turns(turns: Sequence[Turn], *, with_answer: bool) -> list[Piece]:
    """Render a conversation; the loss covers the assistant texts and their end tokens, but for turns with ``learn: false``.

    Without answer, the last assistant turn is left open for generation.
    """
    if turns[0].role != SYSTEM_TURN.role:
        turns = [SYSTEM_TURN, *turns]
    if not with_answer and turns[-1].role == ASSISTANT:
        turns = turns[:-1]
    numbers = count(1)
    pieces: list[Piece] = []
    for index, turn in enumerate(turns):
        is_learned = turn.role == ASSISTANT and turn.is_learned
        pieces += [Text("\n")] if index else []
        pieces += [markup(TURN_START), Text(f"{turn.role}\n")]
        for part in turn.content:
            if isinstance(part, str):
                pieces.append(as_text(part, is_learned=is_learned))
            else:
                line = f"Audio {next(numbers)}: "
                pieces += [Text(line), markup(CLIP_START), Clip(part), markup(CLIP_END), Text("\n")]
        pieces.append(markup(TURN_END, is_learned=is_learned))
    if not with_answer:
        pieces += [Text("\n"), markup(TURN_START), Text(f"{ASSISTANT}\n")]
    return pieces


def render_chatml(
    task: Task, labels: Labels, *, choice: int, is_evaluation: bool, with_answer: bool
) -> list[Piece]:
    """Render a task in ChatML, with the questions of ``natural``."""
    question = fill_question(task, labels, choice=choice, is_evaluation=is_evaluation)
    turn = Turn(USER, (*range(1, task.num_clips + 1), *question))
    pieces = render_turns([turn], with_answer=False)
    return pieces + answer_in_words(task, labels, TURN_END) if with_answer else pieces
