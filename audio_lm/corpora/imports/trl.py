"""Rows of trl, JSONL (or a JSON list): preference, prompt-completion and language-modeling rows, with texts or messages.

``chosen`` and ``rejected`` follow ``prompt``; without one they are whole conversations. ``audios`` has the audio of a row, for
placeholders in its messages; a part of a message may have it instead.

Source: huggingface/trl, docs/source/dataset_formats.md (preference with explicit and implicit prompt).
"""

from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports import ms_swift
from audio_lm.corpora.imports.common import ImportOptions, Row, for_each_row, refuse_columns
from audio_lm.corpora.imports.tools import drop_or_refuse_tools
from audio_lm.corpora.imports.writer import ImportWriter
from audio_lm.data.manifest.json_lines import short_repr

NAME = "trl"


def read(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a file of this format.

    Raises:
        DataError: bad lines, all in one message.
    """
    refuse_columns(options, NAME)

    def import_row(number: int, row: Row) -> None:
        drop_or_refuse_tools(row, writer, options)
        if "label" in row:
            raise DataError(
                "the row has a label (unpaired preference, KTO), which is not supported; pair the rows"
            )
        ms_swift.import_messages(number, _as_messages(row), path, writer, options)

    for_each_row(path, import_row, writer.notes, bad=writer.bad)


def _as_messages(row: Row) -> Row:
    """Row of ms-swift's shape with ``messages``, and ``rejected_messages`` of a pair."""
    audios = row.get("audios", row.get("audio"))
    others = row.get("rejected_audios", audios)
    found = Row({} if audios is None else {"audios": audios})
    prompt = row.get("prompt")
    before = [] if prompt is None else _messages(prompt, "prompt", "user")
    if row.get("messages") is not None:
        found["messages"] = [*before, *_messages(row["messages"], "messages", "assistant")]
        return found
    key = next((name for name in ("chosen", "completion") if row.get(name) is not None), None)
    if key is None:
        raise DataError(
            f"the row has the columns {sorted(row)} -- expected prompt and completion, prompt, chosen and rejected, or "
            f"messages; is the file in another format?"
        )
    found["messages"] = [*before, *_messages(row[key], key, "assistant")]
    if key == "chosen":
        found |= {} if others is None else {"rejected_audios": others}
        found["rejected_messages"] = [*before, *_messages(row.get("rejected"), "rejected", "assistant")]
    return found


def _messages(value: Any, key: str, role: str) -> list[Any]:
    """Messages of a column; a text is one message of the role."""
    if isinstance(value, str):
        return [Row({"role": role, "content": value})]
    if not isinstance(value, list) or not value:
        raise DataError(
            f"{key!r} is {short_repr(value)} -- expected a text or a list of messages; correct it"
        )
    return value
