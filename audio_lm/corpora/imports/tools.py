"""Turns that call tools or contain their results: refused, or dropped and counted."""

from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.common import DROP_TOOLS, TOOL_KEYS, ImportOptions, Row, is_empty
from audio_lm.corpora.imports.writer import ImportWriter

TOOL_ROLES = frozenset(
    {"tool", "tool_call", "tool_response", "tool_calls", "function", "function_call", "observation"}
)


def drop_or_refuse_tools(row: Row, writer: ImportWriter, options: ImportOptions) -> None:
    """Drop the tool turns of a row and count them, or refuse the row.

    With a tool turn, the assistant's turn that calls the tool is dropped, too.

    Raises:
        DataError: tools are refused, and the row has some; names the turn.
    """
    if options.tools != DROP_TOOLS:
        refuse_tools(row)
        return
    dropped = _drop(row)
    writer.num_tool_turns += dropped
    writer.num_rows_with_tools += dropped > 0


def refuse_tools(row: Row) -> None:
    """Refuse a row that describes or calls tools, at any depth.

    Raises:
        DataError: names the key, or the turn.
    """
    for key, value in row.items():
        if key in TOOL_KEYS and not is_empty(value) and value is not False:
            raise DataError(
                f"{key!r} describes or calls tools, which are not supported; remove the row, or drop its tool turns with "
                f"--tools drop"
            )
        for number, turn in enumerate(value if isinstance(value, list) else (), start=1):
            if is_tool_turn(turn):
                raise DataError(tool_fault(number))
    for _, inner in row.inner_rows():
        refuse_tools(inner)


def tool_fault(number: int) -> str:
    """Message for a tool turn."""
    return f"turn {number} calls a tool or is a tool's -- tools are not supported; remove it, or drop it with --tools drop"


def is_tool_turn(turn: Any) -> bool:
    """True if a turn is by a tool, or calls one."""
    if not isinstance(turn, Row):
        return False
    role = dict.get(turn, "role", dict.get(turn, "from"))
    calls = role is not None and any(not is_empty(dict.get(turn, key)) for key in TOOL_KEYS)
    return calls or (isinstance(role, str) and role.lower() in TOOL_ROLES)


def _drop(row: Row) -> int:
    """Remove tool turns and descriptions of tools in place; the number of turns."""
    dropped = 0
    for key in list(row):
        value = dict.get(row, key)
        if key in TOOL_KEYS:
            row.pop(key)
        elif isinstance(value, list):
            kept = [item for item in value if not is_tool_turn(item)]
            dropped += len(value) - len(kept)
            value[:] = kept
    return dropped + sum(_drop(inner) for _, inner in row.inner_rows())
