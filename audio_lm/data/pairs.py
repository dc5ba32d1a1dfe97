"""Both conversations of a preference pair, from the labels of a cut.

The label ``rejected`` is a text, the last answer, or a complete conversation. Only the answer that differs is learned:
the last one, or, if the conversations differ before it, all answers from that turn on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.prompts.chatml import ASSISTANT, render_turns, turns_of
from audio_lm.prompts.conversation import Piece, Text, Turn, as_text

REJECTED = "rejected"


def pair_of(
    labels: Mapping[str, Any], chosen: Sequence[Piece], *, is_chat: bool, has_clips: bool
) -> tuple[list[Piece], list[Piece]]:
    """Pieces of the chosen and of the rejected conversation, learned from the first answer on that differs.

    Args:
        chosen: the rendered task, with its answer; not used for a chat.
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
    turns, others = (
        [replace(turn, is_learned=True) for turn in turns_of(each)] for each in (conversation, rejected)
    )
    if others[-1].role != ASSISTANT or turns[-1].role != ASSISTANT:
        raise DataError("a conversation of the pair ends without an answer; add the assistant's turn")
    if turns == others and not has_clips:
        raise DataError("the rejected conversation equals the chosen one; make them differ or remove the cut")
    shared = next(
        (number for number, pair in enumerate(zip(turns, others, strict=False)) if pair[0] != pair[1]), None
    )
    first = min(each for each in (shared, len(turns) - 1, len(others) - 1) if each is not None)
    return _learned_from(turns, first), _learned_from(others, first)


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


def _learned_from(turns: Sequence[Turn], first: int) -> list[Piece]:
    """Rendered conversation in which the answers from a turn on are learned, and no others."""
    marked = [replace(turn, is_learned=number >= first) for number, turn in enumerate(turns)]
    return render_turns(marked, with_answer=True)
