"""LLaMA-Factory's sharegpt format: a JSON or JSONL file that an entry of ``dataset_info.json`` describes.

The entry is found by its ``file_name``, in the file's folder or one above it; audio paths start
from the folder of ``dataset_info.json``, which is the project's own default.

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
    refuse_tools,
    resolve_audio_path,
)
from audio_lm.corpora.imports.conversations import build_conversation, check_text, path_list, rejected_label
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
    """An entry of ``dataset_info.json``, defaults filled in."""

    folder: Path
    """That audio paths start from: the one of ``dataset_info.json``."""

    is_ranking: bool
    columns: Mapping[str, str]
    tags: Mapping[str, str]

    def value(self, row: Row, column: str) -> Any:
        """What a row has in a column, by LLaMA-Factory's name for it."""
        return row.get(self.columns[column]) if column in self.columns else None

    def turn(self, message: Any, what: str) -> tuple[str, str]:
        """Role and text of a turn.

        Raises:
            DataError: it has another role, or no text.
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
        DataError: no entry describes the file, or bad lines, all of them in one message.
    """
    refuse_columns(options, NAME)
    description = find_description(path, options.subset)

    def take(number: int, row: Row) -> None:
        refuse_tools(row)
        if any(description.value(row, column) for column in ("images", "videos", "tools")):
            raise DataError("the row has images, videos or tools, and only audio is heard; leave it out")
        if description.value(row, "kto_tag") is False:
            raise DataError("kto_tag is false, so that the answer is a bad one; leave such rows out")
        turns = _turns(row, description)
        audios = path_list(description.value(row, "audios"), "audios")
        clips = [resolve_audio_path(one, description.folder, options) for one in audios]
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

    for_each_row(path, take, writer.notes)


def find_description(path: Path, subset: str) -> Description:
    """The entry that describes a file.

    Args:
        subset: the name of the entry to take where several describe the file.

    Raises:
        DataError: there is none, not exactly one, or it is of another kind.
    """
    for folder in path.absolute().parents:
        place = folder / DESCRIPTIONS
        if not place.is_file():
            continue
        entries = _entries(place)
        name_here = path.absolute().relative_to(folder).as_posix()
        found = {name: entry for name, entry in entries.items() if entry.get("file_name") == name_here}
        if len(found) > 1 and subset not in found:
            raise DataError(
                f"{place}: {sorted(found)} all describe {name_here!r}; name the subset like the one to take"
            )
        if found:
            name = subset if len(found) > 1 else next(iter(found))
            return _description(place, name, found[name])
    raise DataError(
        f"{path}: no {DESCRIPTIONS} in its folder or above has an entry with this file_name; write one, such as "
        f'{{"mine": {{"file_name": "{path.name}", "formatting": "sharegpt", "columns": {{"messages": "conversations", '
        f'"audios": "audios"}}}}}}'
    )


def _entries(place: Path) -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads(place.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{place}:{error.lineno}: this is no JSON ({error.msg}); repair the file") from error
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise DataError(f"{place}: expected an object with one object for each name; repair the file")
    return entries


def _description(place: Path, name: str, entry: Mapping[str, Any]) -> Description:
    where = f"{place}: entry {name!r}"
    formatting = entry.get("formatting", "alpaca")
    if formatting not in ("sharegpt", "openai"):
        raise DataError(
            f"{where} has the formatting {formatting!r} -- expected sharegpt; write the file in that one"
        )
    columns = {**COLUMNS, **entry.get("columns", {})}
    is_ranking = bool(entry.get("ranking", False))
    if is_ranking and not {"chosen", "rejected"} <= columns.keys():
        raise DataError(f"{where} is a ranking, but its columns name no chosen and rejected; add them")
    return Description(place.parent, is_ranking, columns, {**TAGS, **entry.get("tags", {})})


def _turns(row: Row, description: Description) -> list[tuple[str, str]]:
    messages = description.value(row, "messages")
    if not isinstance(messages, list) or not messages:
        raise DataError(
            f"{description.columns['messages']!r} is {messages!r} -- expected a list of turns; check the columns "
            f"in {DESCRIPTIONS}"
        )
    turns = [description.turn(one, f"turn {number}") for number, one in enumerate(messages, start=1)]
    system = description.value(row, "system")
    if system and turns[0][0] != "system":
        turns = [("system", check_text(system, "the system prompt")), *turns]
    return turns
