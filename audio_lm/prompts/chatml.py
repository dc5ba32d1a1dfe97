"""Conversations in ChatML, the prompt format of both chat models.

Texts and clips of a turn keep the order of its content. Clips are numbered
through the whole conversation, and a line break follows each. Voice chat and
audio analysis share one system prompt.

Source: Qwen2-Audio, arXiv:2407.10759, section 2; its chat template in ``transformers``.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final

from audio_lm.common.errors import DataError
from audio_lm.prompts.conversation import Clip, Piece, Text, Turn, as_text, markup
from audio_lm.prompts.natural import CLIP_END, CLIP_START, answer_in_words, fill_question
from audio_lm.tasks.task import Labels, Task

TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
SYSTEM_TURN = Turn("system", ("You are a helpful assistant.",))
USER: Final = "user"
ASSISTANT: Final = "assistant"


def turns_of(conversation: Sequence[Mapping[str, Any]]) -> list[Turn]:
    """Parse the label ``conversation`` into turns.

    Raises:
        DataError: the conversation is empty, its roles do not alternate, or its clips are out of order.
    """
    turns = [
        Turn(
            row["role"], tuple(part["audio"] if "audio" in part else part["text"] for part in row["content"])
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
    """Render a conversation; the loss covers the assistant texts and their end tokens.

    Without answer, the last assistant turn is left open for generation.
    """
    if turns[0].role != SYSTEM_TURN.role:
        turns = [SYSTEM_TURN, *turns]
    if not with_answer and turns[-1].role == ASSISTANT:
        turns = turns[:-1]
    numbers = count(1)
    pieces: list[Piece] = []
    for index, turn in enumerate(turns):
        pieces += [Text("\n")] if index else []
        pieces += _turn_pieces(turn, numbers)
    if not with_answer:
        pieces += _answer_start()
    return pieces


def render_next_turn(turn: Turn, *, num_clips: int, is_first: bool) -> list[Piece]:
    """Render one more user turn of a conversation, up to where its answer starts.

    The pieces of all turns, with the answers between them, are those of ``render_turns``.

    Args:
        num_clips: clips of the earlier turns.
        is_first: True adds the system turn; otherwise the answer before the turn is closed.
    """
    pieces = _turn_pieces(SYSTEM_TURN, count(1)) if is_first else [markup(TURN_END)]
    return [*pieces, Text("\n"), *_turn_pieces(turn, count(num_clips + 1)), *_answer_start()]


def _turn_pieces(turn: Turn, numbers: Iterator[int]) -> list[Piece]:
    is_learned = turn.role == ASSISTANT
    pieces: list[Piece] = [markup(TURN_START), Text(f"{turn.role}\n")]
    for part in turn.content:
        if isinstance(part, str):
            pieces.append(as_text(part, is_learned=is_learned))
        else:
            line = f"Audio {next(numbers)}: "
            pieces += [Text(line), markup(CLIP_START), Clip(part), markup(CLIP_END), Text("\n")]
    return [*pieces, markup(TURN_END, is_learned=is_learned)]


def _answer_start() -> list[Piece]:
    return [Text("\n"), markup(TURN_START), Text(f"{ASSISTANT}\n")]


def render_chatml(
    task: Task, labels: Labels, *, choice: int, is_evaluation: bool, with_answer: bool
) -> list[Piece]:
    """Render a task in ChatML, with the questions of ``natural``."""
    question = fill_question(task, labels, choice=choice, is_evaluation=is_evaluation)
    turn = Turn(USER, (*range(1, task.num_clips + 1), *question))
    pieces = render_turns([turn], with_answer=False)
    return pieces + answer_in_words(task, labels, TURN_END) if with_answer else pieces
