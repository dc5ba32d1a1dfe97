"""ms-swift's rows, JSONL (or a JSON list): ``messages`` (or another shape) and ``audios``, with or without rejected answers.

``rejected_response`` replaces everything after the last user turn and uses the same audio; ``rejected_messages`` has its
own ``rejected_audios``.

Source: modelscope/ms-swift at 3602360a, docs/source_en/Customization/Custom-dataset.md,
swift/template/template_inputs.py (rejected_*), swift/template/base.py (_add_default_tags).
"""

from collections.abc import Mapping
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
from audio_lm.corpora.imports.conversations import (
    Conversation,
    append_placeholder,
    build_conversation,
    check_text,
    count_placeholders,
    path_list,
    rejected_label,
)
from audio_lm.corpora.imports.ms_swift_rows import messages_of, standard_messages
from audio_lm.corpora.imports.writer import ImportWriter

NAME = "ms-swift"
AUDIO = "<audio>"
ROLES = ("system", "user", "assistant")
UNSUPPORTED = ("images", "image", "videos", "video", "rejected_images", "rejected_videos", "objects")

RoleTexts = list[tuple[str, str]]


def read(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a file of this format.

    Raises:
        DataError: bad lines, all in one message.
    """
    refuse_columns(options, NAME)

    def import_row(number: int, row: Row) -> None:
        _refuse(row)
        turns, audios = _read_turns(row, messages_of(row), ("audios", "audio"))
        clips = [resolve_audio_path(audio, path.parent, options) for audio in audios]
        labels: dict[str, Any] = {
            **options.label_language(),
            "conversation": _conversation(turns, len(clips)),
        }
        rejected = _rejected(row, turns, audios)
        rejected_clips: list[Path] = []
        if rejected is not None:
            others = [resolve_audio_path(audio, path.parent, options) for audio in rejected[1]]
            labels["rejected"] = rejected_label(
                labels["conversation"], _conversation(rejected[0], len(others)), same_clips=others == clips
            )
            rejected_clips = others if others != clips else []
        writer.add_conversation(
            options.subset_split, options.cut_id(number), clips, labels, rejected_clips=rejected_clips
        )

    for_each_row(path, import_row, writer.notes, bad=writer.bad)


def _refuse(row: Row) -> None:
    """Refuse rows with unsupported content, instead of training on a part of it."""
    refuse_tools(row)
    unsupported = [key for key in UNSUPPORTED if row.get(key)]
    if unsupported:
        raise DataError(f"the row has {unsupported}; only audio and text are supported; remove them")
    if row.get("label") is False:
        raise DataError("label is false, which marks a bad answer (KTO); remove such rows")


def _read_turns(row: Row, messages: list[Any], audio_keys: tuple[str, ...]) -> tuple[RoleTexts, list[Any]]:
    """Pairs of role and text, and the audio of the row."""
    audios = next((path_list(row[name], name) for name in audio_keys if row.get(name) is not None), [])
    turns, inside = [], []
    for number, message in enumerate(messages, start=1):
        text, more = _turn(number, message)
        turns.append((message["role"], text))
        inside += more
    if inside and audios:
        raise DataError(f"audio is both in {audio_keys[0]!r} and in the turns; keep one of them")
    return turns, inside or audios


def _turn(number: int, message: Any) -> tuple[str, list[Any]]:
    """Text of a turn with placeholders, and the audio in it."""
    role = message.get("role") if isinstance(message, Mapping) else None
    if role not in ROLES:
        raise DataError(f"turn {number} has the role {role!r} -- expected one of {ROLES}; remove the row")
    if message.get("loss") is False or message.get("loss_scale") not in (None, 1):
        raise DataError(
            f"turn {number} has loss or loss_scale, but all answers have the same weight here; remove the row"
        )
    content = message.get("content")
    if not isinstance(content, list):
        return check_text(content, f"the content of turn {number}"), []
    text, audios = "", []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text":
            text += check_text(part.get("text"), f"a text of turn {number}")
        elif kind in ("audio", "audio_url"):
            audio = part.get(kind)
            text = append_placeholder(text)
            audios.append(audio.get("url") if isinstance(audio, Mapping) else audio)
        else:
            raise DataError(f"turn {number} has a part of type {kind!r} -- expected text or audio; remove it")
    return text, [audio for audio in audios if audio]


def _conversation(turns: RoleTexts, num_clips: int) -> Conversation:
    """Label ``conversation``; missing placeholders are inserted before the first turn after the system prompt."""
    num_missing = num_clips - count_placeholders(turns)
    first = next((index for index, (role, _) in enumerate(turns) if role != "system"), 0)
    if num_missing > 0:
        role, text = turns[first]
        turns = [*turns[:first], (role, AUDIO * num_missing + text), *turns[first + 1 :]]
    return build_conversation(turns, num_clips)


def _rejected(row: Row, turns: RoleTexts, audios: list[Any]) -> tuple[RoleTexts, list[Any]] | None:
    """Turns and audio of the rejected conversation, if the row has one."""
    if row.get("rejected_messages") is not None:
        messages = standard_messages(row["rejected_messages"], "rejected_messages")
        return _read_turns(row, messages, ("rejected_audios", "rejected_audio"))
    others = path_list(row.get("rejected_audios"), "rejected_audios") or audios
    response = row.get("rejected_response")
    if response is None:
        return None if others == audios else (turns, others)
    if isinstance(response, str):
        response = [{"role": "assistant", "content": response}]
    answers, _ = _read_turns(row, standard_messages(response, "rejected_response"), ())
    last_user = max((index for index, (role, _) in enumerate(turns) if role == "user"), default=-1)
    return [*turns[: last_user + 1], *answers], others
