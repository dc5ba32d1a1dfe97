"""NeMo's manifests: lines of ``audio_filepath``, ``offset``, ``duration``, ``text``, ``lang``; and its conversations.

Two schemas of conversations are read: ``sound`` with ``conversations`` that contain ``<sound>`` or ``<speech>``
(share_gpt), and ``conversations`` whose turns have the type text or audio; adjacent turns of one role are joined with a
space.

Source: NVIDIA/NeMo at 8cfedd72, nemo/collections/common/data/lhotse/text_adapters.py and
nemo_adapters.py, nemo/collections/common/parts/preprocessing/manifest.py.
"""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.canary import label_of_column
from audio_lm.corpora.imports.common import (
    ImportOptions,
    Row,
    for_each_row,
    parse_seconds,
    refuse_columns,
    resolve_audio_path,
)
from audio_lm.corpora.imports.conversations import (
    Conversation,
    build_conversation,
    check_conversation,
    check_text,
    count_placeholders,
)
from audio_lm.corpora.imports.labels import check_labels, row_labels
from audio_lm.corpora.imports.nemo_tars import TarredAudio, is_tarred, manifests_at
from audio_lm.corpora.imports.tools import drop_or_refuse_tools
from audio_lm.corpora.imports.writer import ImportWriter

CONVERSATIONS = "nemo-share-gpt"
PLACEHOLDERS = ("<sound>", "<speech>")
ROLE_OF_NAME = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}


def read(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a manifest of transcribed clips.

    Raises:
        DataError: bad lines, all in one message; or no row has a requested column.
    """
    check_labels(options)
    manifests = manifests_at(path)
    tars = TarredAudio(manifests[0], options.tars)
    seen: set[str] = set()
    num_skipped = 0

    def import_row(number: int, row: Row) -> None:
        nonlocal num_skipped
        seen.update(row)
        if row.get("_skipme"):
            num_skipped += 1
            row.skip()
            return
        if is_tarred(row):
            audio = tars.find(row)
        elif options.tars:
            raise DataError("the row has no shard_id, so its audio is in no tar; omit --tars")
        else:
            audio = resolve_audio_path(row.get("audio_filepath"), path.parent, options)
        start = parse_seconds("offset", row["offset"]) if row.get("offset") is not None else 0.0
        duration = parse_seconds("duration", row["duration"]) if row.get("duration") is not None else None
        labels = row_labels(row, label_of_column(row, options), options)
        cut_id = options.cut_id(number)
        writer.add(options.subset_split, cut_id, audio, labels, start=start, duration=duration)

    for_each_row(manifests, import_row, writer.notes, bad=writer.bad)
    if missing := options.columns.keys() - seen:
        raise DataError(
            f"{path}: no row has {sorted(missing)}; the rows have {sorted(seen)}; correct the columns"
        )
    if num_skipped:
        writer.notes.append(f"{num_skipped} rows with _skipme were left out")


def read_conversations(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import conversations of either schema.

    Raises:
        DataError: bad lines, all in one message.
    """
    refuse_columns(options, CONVERSATIONS)

    def import_row(number: int, row: Row) -> None:
        drop_or_refuse_tools(row, writer, options)
        turns = row.get("conversations")
        if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
            raise DataError(
                f"'conversations' is {turns!r} -- expected a list of turns; is the file in another format?"
            )
        is_typed = any("type" in turn for turn in turns)
        conversation, files = (_typed if is_typed else _share_gpt)(row, turns)
        clips = [resolve_audio_path(file, path.parent, options) for file in files]
        cut_id = options.cut_id(number, row.get("id"))
        labels = {**options.label_language(), "conversation": conversation}
        writer.add_conversation(options.subset_split, cut_id, clips, labels)

    for_each_row(path, import_row, writer.notes, bad=writer.bad)


def _share_gpt(row: Row, turns: list[Mapping[str, Any]]) -> tuple[Conversation, list[Any]]:
    """Conversation in which each placeholder is the row's only file."""
    texts = [(_role(number, turn), _text(number, turn)) for number, turn in enumerate(turns, start=1)]
    count = count_placeholders(texts, placeholders=PLACEHOLDERS)
    sound = row.get("sound") or row.get("ori_sound")
    if sound and not count:
        raise DataError(f"the row has a sound, but no turn has a placeholder; add one of {PLACEHOLDERS}")
    files = [sound] * count if sound else []
    return build_conversation(texts, len(files), placeholders=PLACEHOLDERS), files


def _typed(row: Row, turns: list[Mapping[str, Any]]) -> tuple[Conversation, list[Any]]:
    """Conversation in which each turn is either text or audio."""
    files: list[Any] = []
    conversation = []
    numbered = list(enumerate(turns, start=1))
    for role, group in groupby(numbered, key=lambda pair: _role(*pair)):
        content: list[dict[str, Any]] = []
        for number, turn in group:
            if content and "text" in content[-1]:  # only text needs a space, because a clip ends its line
                content[-1]["text"] += " "
            if turn.get("type") == "audio":
                files.append(turn.get("value"))
                content.append({"audio": len(files)})
            elif turn.get("type") == "text":
                content.append({"text": _text(number, turn)})
            else:
                raise DataError(
                    f"turn {number} has the type {turn.get('type')!r} -- expected text or audio; correct it"
                )
        conversation.append({"role": role, "content": _join_texts(content)})
    return check_conversation(conversation), files


def _join_texts(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join adjacent texts."""
    joined: list[dict[str, Any]] = []
    for part in content:
        if joined and "text" in part and "text" in joined[-1]:
            joined[-1] = {"text": joined[-1]["text"] + part["text"]}
        else:
            joined.append(part)
    return joined


def _role(number: int, turn: Mapping[str, Any]) -> str:
    name = str(turn.get("from", "")).lower()
    if name not in ROLE_OF_NAME:
        raise DataError(
            f"turn {number} is from {turn.get('from')!r} -- expected one of {list(ROLE_OF_NAME)}; correct it"
        )
    return ROLE_OF_NAME[name]


def _text(number: int, turn: Mapping[str, Any]) -> str:
    return check_text(turn.get("value"), f"the value of turn {number}")
