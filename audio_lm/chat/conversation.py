"""A conversation with a model, in this process or behind a URL: turns, clips and options."""

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import soundfile

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds
from audio_lm.common.errors import UserError
from audio_lm.data.audio.clip_waves import AudioInput, read_wave, split_long
from audio_lm.data.audio.decode import Wave
from audio_lm.data.manifest.index import LongAudio
from audio_lm.model.decoder.sampling import GREEDY, SamplingConfig
from audio_lm.prompts.chatml import ASSISTANT, USER


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


@dataclass(frozen=True)
class ChatOptions:
    """Answers of a conversation, and reading of its clips."""

    max_new_tokens: int = 256
    """Maximum length of an answer."""

    sampling: SamplingConfig = GREEDY
    """Choice of the next token."""

    stop: tuple[str, ...] = ()
    """Strings that end an answer; they are not part of it."""

    long_audio: LongAudio | None = None
    """Handling of a clip over 30 s; None for the rule of the training. ``chunk`` makes several clips of it."""

    channel: str = "average"
    """Channel of clips that have several: ``average``, ``left`` or ``right``."""


class Conversation(ABC):
    """Turns and clips of a conversation; subclasses generate the answers.

    One thread at a time uses a conversation; ``stop`` may be called from any.
    """

    def __init__(
        self, source: str, options: ChatOptions | None = None, *, long_audio: LongAudio = "error"
    ) -> None:
        """Start an empty conversation.

        Args:
            source: of the model, for people.
            options: they may be replaced between turns.
            long_audio: handling of a clip over 30 s if the options name none.
        """
        self.options = options or ChatOptions()
        self.turns: list[ChatTurn] = []
        self.audios: list[ChatAudio] = []
        """All clips, those of the next turn included."""

        self._source = source
        self._long_audio = long_audio
        self._pending: list[int] = []
        self._attempt = 0
        self._stopping = threading.Event()

    @property
    def pending(self) -> tuple[int, ...]:
        """Numbers of the clips that the next turn will have."""
        return tuple(self._pending)

    def add_audio(self, audio: AudioInput, *, rate: int | None = None, name: str | None = None) -> int:
        """Add a clip to the next turn.

        Args:
            audio: a path, the bytes of a file, or samples (S,) or (S, C).
            rate: sampling rate of samples, in Hz.
            name: for people; by default the file's.

        Returns:
            Its number in the conversation; the first one, where a long clip is cut into several.

        Raises:
            DataError: it is no audio, too short or too long.
        """
        label = clip_name(audio, name, len(self.audios) + 1)
        place = str(audio) if isinstance(audio, str | Path) else label
        wave = read_wave(audio, rate=rate, channel=self.options.channel, name=place)
        first = len(self.audios) + 1
        for part in split_long(wave, self.options.long_audio or self._long_audio, name=place):
            self.audios.append(ChatAudio(len(self.audios) + 1, label, part))
            self._pending.append(len(self.audios))
        return first

    def remove_pending(self) -> None:
        """Remove the clips that were added since the last turn."""
        del self.audios[len(self.audios) - len(self._pending) :]
        self._pending.clear()

    def send(self, text: str = "") -> Iterator[str]:
        """Add a turn of the user with the pending clips; returns the pieces of the answer, as they are generated.

        The question may be spoken: then there is a clip and no text.

        Raises:
            UserError: the turn is empty, or the conversation becomes too long for the model.
        """
        if not text.strip() and not self._pending:
            raise UserError("the message is empty -- expected text or audio; write a question")
        self._prepare(text)
        self.turns.append(ChatTurn(USER, text, self.pending))
        self._pending.clear()
        self._attempt = 0
        return self._start()

    def regenerate(self) -> Iterator[str]:
        """Answer the last turn again; a sampled answer differs, a greedy one does not.

        Raises:
            UserError: there is no turn.
        """
        if not self.turns:
            raise UserError("there is no answer to generate again; send a message first")
        if self.turns[-1].role == ASSISTANT:
            self.turns.pop()
        self._attempt += 1
        self._drop_answer()
        return self._start()

    def stop(self) -> None:
        """End the answer that is being generated; it stays in the conversation as far as it is."""
        self._stopping.set()

    def reset(self) -> None:
        """Forget all turns and clips."""
        self.stop()
        self.turns, self.audios = [], []
        self._pending, self._attempt = [], 0

    def save(self, folder: str | Path) -> Path:
        """Write the conversation: ``conversation.json`` and one WAV file per clip.

        Raises:
            UserError: the folder exists and is not empty.
        """
        return save_conversation(folder, self.turns, self.audios, source=self._source)

    @abstractmethod
    def _prepare(self, text: str) -> None:
        """Prepare a turn with the pending clips, before it is added.

        Raises:
            UserError: the conversation becomes too long for the model.
        """

    @abstractmethod
    def _drop_answer(self) -> None:
        """Forget the answer to the last turn."""

    @abstractmethod
    def _start(self) -> Iterator[str]:
        """Begin an answer to the last turn, and add it to ``turns`` when it ends."""


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
