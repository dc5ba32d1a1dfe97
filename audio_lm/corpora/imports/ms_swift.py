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
    resolve_audio_path,
)
from audio_lm.corpora.imports.conversations import (
    Conversation,
    RoleText,
    append_placeholder,
    build_conversation,
    check_text,
    count_placeholders,
    path_list,
    rejected_label,
)
from audio_lm.corpora.imports.ms_swift_rows import messages_of, standard_messages
from audio_lm.corpora.imports.tools import drop_or_refuse_tools
from audio_lm.corpora.imports.writer import ImportWriter

NAME = "ms-swift"
AUDIO = "<audio>"
ROLES = ("system", "user", "assistant")
UNSUPPORTED = ("images", "image", "videos", "video", "rejected_images", "rejected_videos", "objects")

RoleTexts = list[RoleText]


def read(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a file of this format.

    Raises:
        DataError: bad lines, all in one message.
    """
    refuse_columns(options, NAME)

    def import_row(number: int, row: Row) -> None:
        drop_or_refuse_tools(row, writer, options)
        import_messages(number, row, path, writer, options)

    for_each_row(path, import_row, writer.notes, bad=writer.bad)


def import_messages(number: int, row: Row, path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a row without tools.

    Raises:
        DataError: the row cannot be imported.
    """
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


def _refuse(row: Row) -> None:
    """Refuse rows with unsupported content, instead of training on a part of it."""
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
        turns.append(RoleText(message["role"], text, is_learned=_is_learned(number, message)))
        inside += more
    if inside and audios:
        raise DataError(f"audio is both in {audio_keys[0]!r} and in the turns; keep one of them")
    return turns, inside or audios


def _turn(number: int, message: Any) -> tuple[str, list[Any]]:
    """Text of a turn with placeholders, and the audio in it."""
    role = message.get("role") if isinstance(message, Mapping) else None
    if role not in ROLES:
        raise DataError(f"turn {number} has the role {role!r} -- expected one of {ROLES}; remove the row")
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


def _is_learned(number: int, message: Mapping[str, Any]) -> bool:
    """True if the loss covers a turn: ``loss`` and ``loss_scale`` are absent or on."""
    loss, scale = message.get("loss"), message.get("loss_scale")
    if scale not in (None, 0, 1) or loss not in (None, True, False):
        raise DataError(
            f"turn {number} has the loss {loss!r} and the loss_scale {scale!r} -- expected true or false, and 0 or 1, because "
            f"all learned answers have the same weight; correct them"
        )
    return loss is not False and scale != 0


def _conversation(turns: RoleTexts, num_clips: int) -> Conversation:
    """Label ``conversation``; missing placeholders are inserted before the first turn after the system prompt."""
    num_missing = num_clips - count_placeholders(turns)
    first = next((index for index, turn in enumerate(turns) if turn.role != "system"), 0)
    if num_missing > 0:
        turn = turns[first]
        turns = [
            *turns[:first],
            turn._replace(text=AUDIO * num_missing + turn.text),
            *turns[first + 1 :],
        ]
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
    last_user = max((index for index, turn in enumerate(turns) if turn.role == "user"), default=-1)
    return [*turns[: last_user + 1], *answers], others
