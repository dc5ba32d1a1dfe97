"""A row of a manifest of dialogues, checked: all its faults, each with its turn.

No audio is opened here. The format is described in ``dialogues.py``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audio_lm.corpora.imports.common import TOOL_KEYS, Row, is_empty
from audio_lm.corpora.imports.conversations import Conversation, split_placeholders
from audio_lm.corpora.imports.tools import is_tool_turn, tool_fault
from audio_lm.corpora.imports.writer import MAX_CLIPS
from audio_lm.data.manifest.json_lines import short_repr
from audio_lm.prompts.chatml import ASSISTANT, SYSTEM_TURN, USER

SYSTEM = SYSTEM_TURN.role
ROLES = (SYSTEM, USER, ASSISTANT)
TURN_KEYS = ("role", "content", "text", "learn", "rejected")


@dataclass
class DialogueRow:
    """Content of a row."""

    conversation: Conversation
    audios: list[Any]
    """Audios of the file; not resolved."""

    rejected: str | None = None
    rejected_audios: list[Any] = field(default_factory=list)

    @property
    def is_pair(self) -> bool:
        """True if it has a rejected answer, or audios to which the answer is wrong."""
        return self.rejected is not None or bool(self.rejected_audios)

    def turn_of_audio(self, number: int) -> int | None:
        """Number of the turn that refers to an audio."""
        for turn, content in enumerate((each["content"] for each in self.conversation), start=1):
            if {"audio": number} in content:
                return turn
        return None


@dataclass
class _Reader:
    """State while the turns of a row are read."""

    num_audios: int
    faults: list[str] = field(default_factory=list)
    referenced: list[int] = field(default_factory=list)
    rejected: str | None = None
    rejected_in: list[int] = field(default_factory=list)

    def fault(self, turn: int, what: str) -> None:
        self.faults.append(f"turn {turn}: {what}")


def check_dialogue(row: Row) -> tuple[DialogueRow, list[str]]:
    """Check a row; its content, and all faults but those of its audio."""
    audios, rejected_audios = (_list(row, key) for key in ("audios", "rejected_audios"))
    turns = row.get("turns")
    if not isinstance(turns, list) or not turns:
        fault = f"'turns' is {short_repr(turns)} -- expected a list of turns; add it"
        return DialogueRow([], audios or []), [fault]
    reader = _Reader(len(audios or ()))
    for key, value in (("audios", audios), ("rejected_audios", rejected_audios)):
        if value is None:
            reader.faults.append(
                f"{key!r} is no list -- expected paths, or objects with path or cut; correct it"
            )
    for key in TOOL_KEYS:
        if not is_empty(row.get(key)):
            reader.faults.append(
                f"{key!r} describes tools, which are not supported; remove it, or drop it with --tools drop"
            )
    conversation = [_turn(number, turn, reader) for number, turn in enumerate(turns, start=1)]
    _check_order([turn["role"] for turn in conversation], reader)
    _check_references(reader)
    _check_rejected(conversation, reader, audios or [], rejected_audios or [])
    return DialogueRow(conversation, audios or [], reader.rejected, rejected_audios or []), reader.faults


def _list(row: Row, key: str) -> list[Any] | None:
    value = row.get(key)
    return [] if value is None else value if isinstance(value, list) else None


def _turn(number: int, turn: Any, reader: _Reader) -> dict[str, Any]:
    """Turn of the label ``conversation``; its role is empty if it has none that is known."""
    if not isinstance(turn, Mapping):
        reader.fault(number, f"{short_repr(turn)} -- expected an object with role and content; correct it")
        return {"role": "", "content": []}
    if is_tool_turn(turn):
        reader.faults.append(tool_fault(number))
        return {"role": "", "content": []}
    role = turn.get("role")
    if role not in ROLES:
        reader.fault(
            number, f"the role is {short_repr(role)} -- expected one of {', '.join(ROLES)}; correct it"
        )
        role = ""
    for key in turn.keys() - set(TURN_KEYS):
        reader.fault(number, f"the key {key!r} is unknown -- expected {', '.join(TURN_KEYS)}; remove it")
    content = _content(number, turn, reader)
    if role == ASSISTANT and [part for part in content if "audio" in part]:
        reader.fault(number, "the assistant's turn refers to an audio -- expected one text; correct it")
    elif role == ASSISTANT and not "".join(part.get("text", "") for part in content).strip():
        reader.fault(number, "the answer is empty; write it, or remove the row")
    return {"role": role, "content": content, **_flag(number, turn, role, reader)}


def _flag(number: int, turn: Mapping[str, Any], role: Any, reader: _Reader) -> dict[str, bool]:
    """Flag ``learn`` of a turn, and its rejected answer in the reader."""
    learn = turn.get("learn")
    if learn not in (None, True, False) or (learn is not None and role != ASSISTANT):
        reader.fault(
            number,
            f"learn is {short_repr(learn)} -- expected true or false, in an assistant's turn; correct it",
        )
        learn = None
    rejected = turn.get("rejected")
    if rejected is not None and (not isinstance(rejected, str) or not rejected.strip()):
        reader.fault(number, f"rejected is {short_repr(rejected)} -- expected a text; correct it")
    elif rejected is not None and role != ASSISTANT:
        reader.fault(number, "rejected is in a turn that is not the assistant's; move it to the last answer")
    elif rejected is not None:
        reader.rejected = rejected
        reader.rejected_in.append(number)
    return {} if learn in (None, True) else {"learn": False}


def _content(number: int, turn: Mapping[str, Any], reader: _Reader) -> list[dict[str, Any]]:
    value = turn.get("content", turn.get("text"))
    if isinstance(value, str):
        value = [{"audio": None} if part is None else {"text": part} for part in split_placeholders(value)]
    if not isinstance(value, list) or (turn.get("content") is not None and turn.get("text") is not None):
        reader.fault(
            number,
            f"the content is {short_repr(value)} -- expected a text, or a list of texts and audios; correct it",
        )
        return []
    parts = []
    for part in value:
        audio = part.get("audio", part) if isinstance(part, Mapping) else part
        if isinstance(part, Mapping) and isinstance(part.get("text"), str) and "audio" not in part:
            parts.append({"text": part["text"]})
        elif isinstance(part, Mapping) and "audio" in part and (audio is None or type(audio) is int):
            parts.append({"audio": _reference(number, audio, reader)})
        else:
            reader.fault(
                number,
                f'the part {short_repr(part)} -- expected {{"text": ...}} or {{"audio": number}}; correct it',
            )
    return parts


def _reference(number: int, audio: int | None, reader: _Reader) -> int:
    """Number of an audio; None is the next one."""
    expected = len(reader.referenced) + 1
    audio = expected if audio is None else audio
    if not 1 <= audio <= reader.num_audios:
        reader.fault(
            number,
            f"audio {audio} is missing: the row has {reader.num_audios} audios; add it, or correct the number",
        )
    elif audio in reader.referenced:
        reader.fault(number, f"audio {audio} is in an earlier turn; refer to it in words")
    elif audio != expected:
        reader.fault(
            number,
            f"audio {audio} stands where audio {expected} is expected; number them in the order of the turns",
        )
    reader.referenced.append(audio)
    return audio


def _check_order(roles: Sequence[str], reader: _Reader) -> None:
    """Check that user and assistant alternate after at most one system turn, and that an answer is last."""
    expected = USER
    for number, role in enumerate(roles, start=1):
        if not role:  # reported; the order after it is unknown
            return
        if role == SYSTEM and number == 1:
            continue
        if role != expected:
            reader.fault(
                number, f"the {role}'s turn stands where the {expected}'s is expected; correct the order"
            )
            return
        expected = ASSISTANT if role == USER else USER
    if roles[-1] != ASSISTANT:
        reader.fault(len(roles), "the last turn is no answer; add the assistant's, or remove the row")


def _check_references(reader: _Reader) -> None:
    for number in range(1, reader.num_audios + 1):
        if number not in reader.referenced:
            reader.faults.append(
                f"audio {number} is never referenced; put <audio> into the turn it belongs to, or remove it"
            )
    if reader.num_audios > MAX_CLIPS:
        reader.faults.append(
            f"the row has {reader.num_audios} audios -- expected at most {MAX_CLIPS}; split the conversation"
        )


def _check_rejected(
    conversation: Conversation, reader: _Reader, audios: Sequence[Any], rejected_audios: Sequence[Any]
) -> None:
    last, number = conversation[-1], len(conversation)
    answers = [turn for turn in conversation if turn["role"] == ASSISTANT]
    if answers and not any(turn.get("learn", True) for turn in answers):
        reader.faults.append("no turn is learned: learn is false in all answers; remove the row")
    is_pair = reader.rejected is not None or bool(rejected_audios)
    if is_pair and not last.get("learn", True):
        reader.fault(number, "learn is false in the last answer of a pair; remove it")
    if rejected_audios and len(rejected_audios) != len(audios):
        reader.faults.append(
            f"{len(rejected_audios)} rejected_audios beside {len(audios)} audios -- expected as many; correct them"
        )
    if rejected_audios and rejected_audios == audios:
        reader.faults.append("rejected_audios are the audios themselves; name others, or remove them")
    for turn in reader.rejected_in:
        if turn != number:
            reader.fault(
                turn, "rejected is not in the last turn -- only the last answer has a rejected one; move it"
            )
    answer = "".join(_texts(last["content"]))
    if reader.rejected_in == [number] and reader.rejected == answer and not rejected_audios:
        reader.fault(number, "the rejected answer equals the chosen one; make them differ or remove the row")


def _texts(content: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    return (part["text"] for part in content if "text" in part)
