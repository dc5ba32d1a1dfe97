"""Shapes of ms-swift's rows, converted to ``messages``: sharegpt, query and response, alpaca, prompt and completion.

Source: modelscope/ms-swift, swift/dataset/preprocessor/core.py (MessagesPreprocessor, AlpacaPreprocessor,
ResponsePreprocessor, AutoPreprocessor) and docs/source_en/Customization/Custom-dataset.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.common import Row

MESSAGES = ("messages", "conversation", "conversations")
SYSTEM = ("system", "system_prompt")
QUERIES = ("query", "prompt", "input", "instruction", "question", "problem")
RESPONSES = (
    "response",
    "answer",
    "output",
    "targets",
    "target",
    "answer_key",
    "answers",
    "solution",
    "text",
    "completion",
    "content",
)
USERS, ASSISTANTS = ("user", "human"), ("assistant", "gpt", "bot")
ROLE_OF_NAME = dict.fromkeys(USERS, "user") | dict.fromkeys(ASSISTANTS, "assistant")


def messages_of(row: Row) -> list[Any]:
    """Turns of a row in any shape, each with ``role`` and ``content``; unchecked unless they are converted.

    Raises:
        DataError: the row has none of the shapes, or two columns that may be the query or the response.
    """
    keys = [key for key in MESSAGES if dict.get(row, key) is not None]
    if len(keys) > 1:
        raise DataError(
            f"the row has {' and '.join(map(repr, keys))} -- expected one of them; remove the other"
        )
    if keys:
        messages = standard_messages(row[keys[0]], keys[0])
        system = _system(row)
        return messages if _starts_with_system(messages) else [*system, *messages]
    query, response = _query(row), _response(row)
    history = row.get("history") or []
    if not isinstance(history, list) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in history
    ):
        raise DataError(f"'history' is {history!r} -- expected a list of [query, response]; correct it")
    roles = ("user", "assistant")
    turns = [
        {"role": role, "content": text}
        for pair in (*history, (query, response))
        for role, text in zip(roles, pair, strict=True)
        if text is not None
    ]
    return [*_system(row), *turns]


def standard_messages(value: Any, key: str) -> list[Any]:
    """Turns with ``role`` and ``content`` from those of sharegpt; others are unchanged.

    Args:
        key: of the row, for messages.

    Raises:
        DataError: it is no list, or is empty.
    """
    if not isinstance(value, list) or not value:
        raise DataError(f"{key!r} is {value!r} -- expected a list of turns; is the file in another format?")
    if isinstance(value[0], Mapping) and not value[0].keys() & {"role", "from", "content", "value"}:
        return [turn for pair in value for turn in _turns_of_pair(pair, key)]
    return [_standard_turn(turn) for turn in value]


def _standard_turn(turn: Any) -> Any:
    """Turn of ``from`` and ``value``, or with another name of a role."""
    if not isinstance(turn, Mapping):
        return turn
    found = Row(turn)
    for name, other in (("role", "from"), ("content", "value")):
        if name not in found and other in found:
            found[name] = found.pop(other)
    role = found.get("role")
    found["role"] = ROLE_OF_NAME.get(role, role) if isinstance(role, str) else role
    if isinstance(turn, Row):
        turn.skip([key for key in turn if key in ("role", "from", "content", "value", "loss", "loss_scale")])
    return found


def _turns_of_pair(pair: Any, key: str) -> list[dict[str, Any]]:
    """User's and assistant's turn of an object such as ``{"human": ..., "assistant": ...}``."""
    turns = []
    for role, names in (("user", USERS), ("assistant", ASSISTANTS)):
        found = [name for name in names if isinstance(pair, Mapping) and name in pair]
        if len(found) != 1:
            raise DataError(
                f"{key!r} has the item {pair!r} -- expected one of {', '.join(names)} in it; correct it"
            )
        turns.append({"role": role, "content": pair[found[0]]})
    return turns


def _query(row: Row) -> Any:
    """Query of a row; alpaca's is the instruction, a line break and the input."""
    if "instruction" in row and "input" in row:
        parts = [part for part in (row["instruction"], row["input"]) if part]
        if not all(isinstance(part, str) for part in parts):
            raise DataError(f"instruction and input are {parts!r} -- expected texts; correct them")
        return "\n".join(parts)
    return _only(row, QUERIES, "query")


def _response(row: Row) -> Any:
    response = _only(row, RESPONSES, "response")
    if response is None:
        raise DataError(
            f"the row has none of {', '.join(MESSAGES)} and no {RESPONSES[0]} (or {', '.join(RESPONSES[1:])}); is the file in "
            f"another format?"
        )
    return response[0] if isinstance(response, list) and response else response


def _only(row: Row, names: Sequence[str], what: str) -> Any:
    """Value of the first name, or of the only other one that the row has."""
    found = [name for name in names if dict.get(row, name) is not None]
    if len(found) > 1 and found[0] != names[0]:
        raise DataError(
            f"the {what} may be {' or '.join(map(repr, found))}; rename the right one to {what!r}, or remove the others"
        )
    return row[found[0]] if found else None


def _system(row: Row) -> list[dict[str, Any]]:
    texts = [row[name] for name in SYSTEM if dict.get(row, name)]
    return [{"role": "system", "content": text} for text in texts[:1]]


def _starts_with_system(messages: Sequence[Any]) -> bool:
    return isinstance(messages[0], Mapping) and messages[0].get("role") == "system"
