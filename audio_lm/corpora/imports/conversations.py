r"""The label ``conversation`` from turns with placeholders for clips, and the label ``rejected`` beside it.

``rejected`` is a text where only the last answer differs from the conversation's, and a
conversation of its own where more does. Its clips are then numbered for themselves: they are
the cut's own ones, unless the cut has custom recordings ``rejected_audio_1`` and so on.

A backslash before a placeholder makes it a word: ``\<audio>`` is the text ``<audio>``. Of several
backslashes before a placeholder each pair is one backslash; elsewhere a backslash is a backslash.
"""

import re
from collections.abc import Sequence
from itertools import count
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.prompts.chatml import ASSISTANT, turns_of

Conversation = list[dict[str, Any]]


def build_conversation(
    turns: Sequence[tuple[str, str]], num_clips: int, *, placeholders: Sequence[str] = ("<audio>",)
) -> Conversation:
    """The label ``conversation``, every placeholder the place of the next clip.

    Args:
        turns: role and text, in order.
        num_clips: that the row has.

    Raises:
        DataError: placeholders and clips differ in number, the sides do not alternate, or no answer ends it.
    """
    numbers = count(1)
    conversation = [
        {
            "role": role,
            "content": [
                {"audio": next(numbers)} if part is None else {"text": part}
                for part in _parts(text, placeholders)
            ],
        }
        for role, text in turns
    ]
    found = next(numbers) - 1
    if found != num_clips:
        raise DataError(
            f"the turns have {found} places for audio ({' or '.join(placeholders)}) and the row has {num_clips} "
            f"audio files; make them equal, or write \\{placeholders[0]} where the word is meant"
        )
    return check_conversation(conversation)


def count_placeholders(
    turns: Sequence[tuple[str, str]], *, placeholders: Sequence[str] = ("<audio>",)
) -> int:
    """Count the placeholders of all turns; those behind a backslash are words."""
    return sum(_parts(text, placeholders).count(None) for _, text in turns)


def append_placeholder(text: str, placeholder: str = "<audio>") -> str:
    """Append a placeholder to a text, whatever the text ends with."""
    return text + "\\" * (len(text) - len(text.rstrip("\\"))) + placeholder


def escape_placeholders(text: str, placeholder: str = "<audio>") -> str:
    """Write a text so that every placeholder in it is a word."""
    return re.sub(rf"(\\*){re.escape(placeholder)}", lambda match: f"{match[1] * 2}\\{placeholder}", text)


def _parts(text: str, placeholders: Sequence[str]) -> list[str | None]:
    """Words and, as none, places of clips, in their order."""
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
    """The same, if it can be learned from.

    Raises:
        DataError: the sides do not alternate, clips are out of order, an answer is no text, or none ends it.
    """
    turns = turns_of(conversation)
    if turns[-1].role != ASSISTANT:
        raise DataError(
            "the conversation ends without an answer; add the assistant's turn or leave the row out"
        )
    for number, turn in enumerate(turns, start=1):
        if turn.role == ASSISTANT and (len(turn.content) != 1 or not isinstance(turn.content[0], str)):
            raise DataError(
                f"turn {number} is the assistant's and holds {'audio' if turn.content else 'nothing'} -- expected one "
                f"text; write it as text (a placeholder behind a backslash is a word) or leave the row out"
            )
    return conversation


def rejected_label(
    conversation: Conversation, rejected: Conversation, *, same_clips: bool
) -> str | Conversation:
    """The label ``rejected``: the last answer where nothing else differs, else the whole conversation.

    Raises:
        DataError: it is what was chosen.
    """
    if not same_clips or rejected[:-1] != conversation[:-1]:
        return rejected
    if rejected == conversation:
        raise DataError("the rejected answer is the chosen one; make them differ or leave the row out")
    return str(rejected[-1]["content"][0]["text"])


def check_text(value: Any, what: str) -> str:
    """A string, or a complaint.

    Raises:
        DataError: it is none.
    """
    if not isinstance(value, str):
        raise DataError(f"{what} is {value!r} -- expected a text; correct it")
    return value


def path_list(value: Any, what: str) -> list[Any]:
    """One path or a list of them, as a list.

    Raises:
        DataError: it is neither.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise DataError(f"{what} is {value!r} -- expected a list of paths; correct it")
    return value
