"""LLaMA-Factory's sharegpt format: a JSON or JSONL file described by an entry of ``dataset_info.json``.

``dataset_info.json`` is in the file's folder or in a parent folder; its entry is found by ``file_name``. Audio paths are
relative to the folder of ``dataset_info.json``, LLaMA-Factory's default.

Source: hiyouga/LLaMA-Factory at ff6d4d12, data/README.md (entries, defaults), src/llamafactory/data/parser.py,
src/llamafactory/data/converter.py (SharegptDatasetConverter), data/mllm_audio_demo.json.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.common import (
    ImportOptions,
    Row,
    for_each_row,
    refuse_columns,
    resolve_audio_path,
)
from audio_lm.corpora.imports.conversations import build_conversation, check_text, path_list, rejected_label
from audio_lm.corpora.imports.tools import drop_or_refuse_tools
from audio_lm.corpora.imports.writer import ImportWriter

NAME = "llama-factory"
DESCRIPTIONS = "dataset_info.json"
COLUMNS = {"messages": "conversations"}
TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "system_tag": "system",
}


@dataclass(frozen=True)
class Description:
    """Entry of ``dataset_info.json`` with defaults."""

    folder: Path
    """Base of audio paths: the folder of ``dataset_info.json``."""

    is_ranking: bool
    columns: Mapping[str, str]
    tags: Mapping[str, str]

    def value(self, row: Row, column: str) -> Any:
        """Value of a column, by LLaMA-Factory's name."""
        return row.get(self.columns[column]) if column in self.columns else None

    def turn(self, message: Any, what: str) -> tuple[str, str]:
        """Role and text of a turn.

        Raises:
            DataError: the role is unknown, or there is no text.
        """
        role = message.get(self.tags["role_tag"]) if isinstance(message, Mapping) else None
        role_of_tag = {self.tags[f"{role}_tag"]: role for role in ("system", "user", "assistant")}
        if role not in role_of_tag:
            raise DataError(
                f"{what} has the role {role!r} -- expected one of {list(role_of_tag)}; correct it"
            )
        content = self.tags["content_tag"]
        return role_of_tag[role], check_text(message.get(content), f"{content!r} of {what}")


def read(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a file of this format.

    Raises:
        DataError: no entry describes the file, or bad lines, all in one message.
    """
    refuse_columns(options, NAME)
    description = find_description(path, options.subset)

    def import_row(number: int, row: Row) -> None:
        drop_or_refuse_tools(row, writer, options)
        if any(description.value(row, column) for column in ("images", "videos", "tools")):
            raise DataError("the row has images, videos or tools, which are not supported; remove it")
        if description.value(row, "kto_tag") is False:
            raise DataError("kto_tag is false, which marks a bad answer; remove such rows")
        turns = _turns(row, description)
        audios = path_list(description.value(row, "audios"), "audios")
        clips = [resolve_audio_path(audio, description.folder, options) for audio in audios]
        labels: dict[str, Any] = options.label_language()
        if description.is_ranking:
            chosen = description.turn(description.value(row, "chosen"), "'chosen'")
            rejected = description.turn(description.value(row, "rejected"), "'rejected'")
            labels["conversation"] = build_conversation([*turns, chosen], len(clips))
            labels["rejected"] = rejected_label(
                labels["conversation"], build_conversation([*turns, rejected], len(clips)), same_clips=True
            )
        else:
            labels["conversation"] = build_conversation(turns, len(clips))
        writer.add_conversation(options.subset_split, options.cut_id(number), clips, labels)

    for_each_row(path, import_row, writer.notes, bad=writer.bad)


def find_description(path: Path, subset: str) -> Description:
    """Find the entry that describes a file.

    Args:
        subset: name of the entry to use if several describe the file.

    Raises:
        DataError: there is no entry, no unique one, or its format is not supported.
    """
    for folder in path.absolute().parents:
        info = folder / DESCRIPTIONS
        if not info.is_file():
            continue
        entries = _read_entries(info)
        relative_path = path.absolute().relative_to(folder).as_posix()
        matches = {name: entry for name, entry in entries.items() if entry.get("file_name") == relative_path}
        if len(matches) > 1 and subset not in matches:
            raise DataError(
                f"{info}: {sorted(matches)} all describe {relative_path!r}; give the subset the name of the entry to use"
            )
        if matches:
            name = subset if len(matches) > 1 else next(iter(matches))
            return _description(info, name, matches[name])
    raise DataError(
        f"{path}: no {DESCRIPTIONS} in its folder or a parent folder has an entry with this file_name; write one, such as "
        f'{{"mine": {{"file_name": "{path.name}", "formatting": "sharegpt", "columns": {{"messages": "conversations", '
        f'"audios": "audios"}}}}}}'
    )


def _read_entries(info: Path) -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads(info.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{info}:{error.lineno}: this is not JSON ({error.msg}); repair the file") from error
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise DataError(f"{info}: expected an object with one object for each name; repair the file")
    return entries


def _description(info: Path, name: str, entry: Mapping[str, Any]) -> Description:
    where = f"{info}: entry {name!r}"
    formatting = entry.get("formatting", "alpaca")
    if formatting not in ("sharegpt", "openai"):
        raise DataError(f"{where} has the formatting {formatting!r} -- expected sharegpt; convert the file")
    columns = {**COLUMNS, **entry.get("columns", {})}
    is_ranking = bool(entry.get("ranking", False))
    if is_ranking and not {"chosen", "rejected"} <= columns.keys():
        raise DataError(f"{where} is a ranking without the columns chosen and rejected; add them")
    return Description(info.parent, is_ranking, columns, {**TAGS, **entry.get("tags", {})})


def _turns(row: Row, description: Description) -> list[tuple[str, str]]:
    messages = description.value(row, "messages")
    if not isinstance(messages, list) or not messages:
        raise DataError(
            f"{description.columns['messages']!r} is {messages!r} -- expected a list of turns; check the columns "
            f"in {DESCRIPTIONS}"
        )
    turns = [description.turn(message, f"turn {number}") for number, message in enumerate(messages, start=1)]
    system = description.value(row, "system")
    if system and turns[0][0] != "system":
        turns = [("system", check_text(system, "the system prompt")), *turns]
    return turns
