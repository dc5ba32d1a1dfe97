"""Both conversations of a preference pair, from the labels of a cut.

The label ``rejected`` is a text, the last answer, or a complete conversation. Only the answer that differs is learned:
the last one, or, if the conversations differ before it, all answers from that turn on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.prompts.chatml import ASSISTANT, TURN_END, turns_of
from audio_lm.prompts.conversation import Piece, Text, Turn, as_text
from audio_lm.prompts.render import render_chat

REJECTED = "rejected"


def pair_of(
    labels: Mapping[str, Any], chosen: Sequence[Piece], *, is_chat: bool, has_clips: bool
) -> tuple[list[Piece], list[Piece]]:
    """Pieces of the chosen and of the rejected conversation, learned from the first answer on that differs.

    Args:
        chosen: the rendered conversation, with its answer.
        is_chat: the conversation is that of the labels, and not a task's.
        has_clips: the rejected conversation has clips of its own.

    Raises:
        DataError: there is no rejected answer, it is invalid, or equals the chosen one.
    """
    rejected = labels.get(REJECTED)
    if rejected is None:
        raise DataError(
            "objective: dpo needs the label 'rejected', which it does not have; add a rejected answer or remove the cut"
        )
    if not is_chat:
        return list(chosen), _with_answer(chosen, rejected)
    conversation = labels["conversation"]
    if isinstance(rejected, str):
        rejected = [*conversation[:-1], {"role": ASSISTANT, "content": [{"text": rejected}]}]
    turns, others = turns_of(conversation), turns_of(rejected)
    if others[-1].role != ASSISTANT or turns[-1].role != ASSISTANT:
        raise DataError("a conversation of the pair ends without an answer; add the assistant's turn")
    if turns == others and not has_clips:
        raise DataError("the rejected conversation equals the chosen one; make them differ or remove the cut")
    num_shared = min(
        _num_shared_answers(turns, others), *(_num_answers(each) - 1 for each in (turns, others))
    )
    return (
        _from_answer(chosen, num_shared),
        _from_answer(render_chat(rejected), num_shared),
    )


def _with_answer(chosen: Sequence[Piece], answer: Any) -> list[Piece]:
    """Rendered task with another answer.

    Raises:
        DataError: the answer is no text, or the same.
    """
    if not isinstance(answer, str):
        raise DataError(f"label 'rejected' of a task is {answer!r:.60} -- expected a text; correct it")
    pieces = list(chosen)
    number = (
        max(index for index, piece in enumerate(pieces) if isinstance(piece, Text) and piece.is_learned) - 1
    )
    if pieces[number] == (other := as_text(answer, is_learned=True)):
        raise DataError("the rejected answer equals the chosen one; make them differ or remove the cut")
    pieces[number] = other
    return pieces


def _num_answers(turns: Sequence[Turn]) -> int:
    return sum(turn.role == ASSISTANT for turn in turns)


def _num_shared_answers(turns: Sequence[Turn], others: Sequence[Turn]) -> int:
    """Number of answers before the first turn that differs."""
    shared = 0
    for turn, other in zip(turns, others, strict=False):
        if turn != other:
            break
        shared += turn.role == ASSISTANT
    return shared


def _from_answer(pieces: Sequence[Piece], num_shared: int) -> list[Piece]:
    """Rendered conversation without the loss of its first answers."""
    kept, number = list[Piece](), 0
    for piece in pieces:
        is_learned = isinstance(piece, Text) and piece.is_learned
        kept.append(replace(piece, is_learned=False) if is_learned and number < num_shared else piece)
        number += is_learned and piece.text == TURN_END
    return kept
