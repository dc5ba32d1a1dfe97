"""Parts of a conversation, with a model in this process or behind a URL."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import soundfile

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds
from audio_lm.common.errors import UserError
from audio_lm.data.audio.clip_waves import AudioInput
from audio_lm.data.audio.decode import Wave


@dataclass(frozen=True)
class ChatAudio:
    """A clip of a conversation."""

    number: int
    """Number in the conversation, from 1."""

    name: str
    """File name, for people."""

    wave: Wave = field(repr=False)
    """(S,) at 16 kHz."""

    @property
    def seconds(self) -> Seconds:
        """Length."""
        return len(self.wave) / SAMPLES_PER_SECOND


@dataclass
class ChatTurn:
    """A turn of a conversation."""

    role: Literal["user", "assistant"]
    text: str
    audios: tuple[int, ...] = ()
    """Numbers of its clips."""

    is_complete: bool = True
    """False for an answer that was stopped, or ended at the maximum length."""


class Conversation(Protocol):
    """A conversation that the terminal can hold; ``ChatSession`` is one."""

    @property
    def pending(self) -> tuple[int, ...]:
        """Numbers of the clips that the next turn will have."""

    def add_audio(self, audio: AudioInput, *, rate: int | None = None, name: str | None = None) -> int:
        """Add a clip to the next turn; returns its number in the conversation."""

    def send(self, text: str = "") -> Iterator[str]:
        """Add a turn with the pending clips; returns the pieces of the answer."""

    def regenerate(self) -> Iterator[str]:
        """Answer the last turn again."""

    def stop(self) -> None:
        """End the answer in progress."""

    def reset(self) -> None:
        """Forget all turns and clips."""

    def save(self, folder: str | Path) -> Path:
        """Write turns and clips to a new folder."""


def clip_name(audio: AudioInput, name: str | None, number: int) -> str:
    """Name of a clip for people, by default that of its file."""
    if name is None:
        return Path(audio).name if isinstance(audio, str | Path) else f"audio {number}"
    return name


def save_conversation(
    folder: str | Path, turns: Sequence[ChatTurn], audios: Sequence[ChatAudio], *, source: str
) -> Path:
    """Write a conversation: ``conversation.json``, whose turns are as in manifests, and one WAV file per clip.

    Args:
        source: of the model.

    Raises:
        UserError: the folder exists and is not empty.
    """
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} exists -- expected a new folder; choose another name")
    path.mkdir(parents=True, exist_ok=True)
    for audio in audios:
        file = path / f"audio_{audio.number}.wav"
        soundfile.write(file, audio.wave, SAMPLES_PER_SECOND, subtype="PCM_16")
    rows = [
        {
            "role": turn.role,
            "content": [
                *({"audio": number} for number in turn.audios),
                *([{"text": turn.text}] if turn.text or not turn.audios else []),
            ],
        }
        for turn in turns
    ]
    names = {str(audio.number): audio.name for audio in audios}
    content = {"model": source, "conversation": rows, "audio_names": names}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (path / "conversation.json").write_text(text, encoding="utf-8")
    return path
