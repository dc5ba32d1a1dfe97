r"""Labels ``conversation`` and ``rejected`` from turns with placeholders for clips.

``rejected`` is a text if only the last answer differs from the conversation's, else a complete conversation with its own
numbering of clips: those of the cut, or its custom recordings ``rejected_audio_1`` ... if it has them.

A backslash escapes a placeholder: ``\<audio>`` is the text ``<audio>``. Of several backslashes before a placeholder,
each pair is one backslash; elsewhere a backslash is literal.
"""

import re
from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple

from audio_lm.common.errors import DataError
from audio_lm.prompts.chatml import ASSISTANT, turns_of

Conversation = list[dict[str, Any]]


class RoleText(NamedTuple):
    """Turn with placeholders for clips."""

    role: str
    text: str
    is_learned: bool = True
    """Of an assistant's turn: the loss covers it."""


def build_conversation(
    turns: Sequence[tuple[str, str] | RoleText], num_clips: int, *, placeholders: Sequence[str] = ("<audio>",)
) -> Conversation:
    """Build the label ``conversation``; each placeholder is replaced by the next clip.

    Args:
        turns: pairs of role and text, and whether the turn is learned.
        num_clips: of the row.

    Raises:
        DataError: the numbers of placeholders and clips differ, roles do not alternate, or the last turn is no answer.
    """
    numbers = count(1)
    conversation = [
        {
            "role": turn.role,
            "content": [
                {"audio": next(numbers)} if part is None else {"text": part}
                for part in split_placeholders(turn.text, placeholders)
            ],
            **({} if turn.is_learned else {"learn": False}),
        }
        for turn in (RoleText(*pair) for pair in turns)
    ]
    num_placeholders = next(numbers) - 1
    if num_placeholders != num_clips:
        raise DataError(
            f"the turns have {num_placeholders} placeholders for audio ({' or '.join(placeholders)}) and the row has "
            f"{num_clips} audio files; make them equal, or write \\{placeholders[0]} for the literal text"
        )
    return check_conversation(conversation)


def count_placeholders(
    turns: Sequence[tuple[str, str] | RoleText], *, placeholders: Sequence[str] = ("<audio>",)
) -> int:
    """Count the placeholders of all turns, without escaped ones."""
    return sum(split_placeholders(text, placeholders).count(None) for _, text, *_ in turns)


def append_placeholder(text: str, placeholder: str = "<audio>") -> str:
    """Append a placeholder to a text; trailing backslashes are escaped."""
    return text + "\\" * (len(text) - len(text.rstrip("\\"))) + placeholder


def escape_placeholders(text: str, placeholder: str = "<audio>") -> str:
    """Escape all placeholders of a text."""
    return re.sub(rf"(\\*){re.escape(placeholder)}", lambda match: f"{match[1] * 2}\\{placeholder}", text)


def split_placeholders(text: str, placeholders: Sequence[str] = ("<audio>",)) -> list[str | None]:
    """Split a text into literal texts and clips; a clip is None."""
    pattern = re.compile(r"(\\*)(" + "|".join(map(re.escape, placeholders)) + ")")
    parts: list[str | None] = []
    words, end = "", 0
    for match in pattern.finditer(text):
        num_pairs, is_word = divmod(len(match[1]), 2)
        words += text[end : match.start()] + "\\" * num_pairs + match[2] * is_word
        end = match.end()
        if not is_word:
            parts += [words, None]
            words = ""
    return [part for part in (*parts, words + text[end:]) if part != ""]


def check_conversation(conversation: Conversation) -> Conversation:
    """Check that a conversation can be trained on, and return it.

    Raises:
        DataError: roles do not alternate, clips are out of order, an answer is no text, or the last turn is no answer.
    """
    turns = turns_of(conversation)
    if turns[-1].role != ASSISTANT:
        raise DataError("the conversation ends without an answer; add the assistant's turn or remove the row")
    if not any(turn.role == ASSISTANT and turn.is_learned for turn in turns):
        raise DataError("no answer is learned, because the loss of all is off; remove the row")
    for number, turn in enumerate(turns, start=1):
        if turn.role == ASSISTANT and (len(turn.content) != 1 or not isinstance(turn.content[0], str)):
            raise DataError(
                f"turn {number} is the assistant's and contains {'audio' if turn.content else 'nothing'} -- expected one "
                f"text; write it as text (a backslash escapes a placeholder) or remove the row"
            )
    return conversation


def rejected_label(
    conversation: Conversation, rejected: Conversation, *, same_clips: bool
) -> str | Conversation:
    """Label ``rejected``: the last answer if nothing else differs, else the complete conversation.

    Raises:
        DataError: it equals the chosen conversation.
    """
    if not same_clips or rejected[:-1] != conversation[:-1]:
        return rejected
    if rejected == conversation:
        raise DataError("the rejected answer equals the chosen one; make them differ or remove the row")
    return str(rejected[-1]["content"][0]["text"])


def check_text(value: Any, what: str) -> str:
    """Check that a value is a string.

    Raises:
        DataError: it is not.
    """
    if not isinstance(value, str):
        raise DataError(f"{what} is {value!r} -- expected a text; correct it")
    return value


def path_list(value: Any, what: str) -> list[Any]:
    """Convert one path, a list of paths, or None to a list.

    Raises:
        DataError: it is none of them.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise DataError(f"{what} is {value!r} -- expected a list of paths; correct it")
    return value
