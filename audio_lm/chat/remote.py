"""A conversation with a model behind an OpenAI-compatible endpoint; the whole conversation is sent with every turn."""

import threading
from collections.abc import Iterator
from pathlib import Path

from audio_lm.chat.conversation import ChatAudio, ChatTurn, clip_name, save_conversation
from audio_lm.chat.session import ChatOptions
from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.common.chat_endpoint import ChatEndpoint, Message, Sampling
from audio_lm.common.chat_parts import message, text_part, wave_part
from audio_lm.common.errors import UserError
from audio_lm.data.audio.clip_waves import AudioInput, read_wave, split_long
from audio_lm.prompts.chatml import ASSISTANT, USER


class RemoteConversation:
    """A conversation with the interface of ``ChatSession``."""

    def __init__(self, endpoint: ChatEndpoint, options: ChatOptions | None = None) -> None:
        """Start an empty conversation.

        Raises:
            UserError: an option that the protocol does not have.
        """
        self.options = options or ChatOptions()
        if self.options.sampling.top_k is not None:
            raise UserError("top-k is no option of OpenAI-compatible endpoints; leave it out, or use top-p")
        self.turns: list[ChatTurn] = []
        self.audios: list[ChatAudio] = []
        self._endpoint = endpoint
        self._pending: list[int] = []
        self._attempt = 0
        self._stopping = threading.Event()

    @property
    def pending(self) -> tuple[int, ...]:
        """Numbers of the clips that the next turn will have."""
        return tuple(self._pending)

    def add_audio(self, audio: AudioInput, *, rate: int | None = None, name: str | None = None) -> int:
        """Add a clip to the next turn; see ``ChatSession``."""
        label = clip_name(audio, name, len(self.audios) + 1)
        place = str(audio) if isinstance(audio, str | Path) else label
        wave = read_wave(audio, rate=rate, channel=self.options.channel, name=place)
        first = len(self.audios) + 1
        for part in split_long(wave, self.options.long_audio or "error", name=place):
            self.audios.append(ChatAudio(len(self.audios) + 1, label, part))
            self._pending.append(len(self.audios))
        return first

    def send(self, text: str = "") -> Iterator[str]:
        """Add a turn with the pending clips; returns the pieces of the answer.

        Raises:
            UserError: the turn is empty. Iterating raises it where the endpoint gives no answer; the turn is then removed.
        """
        if not text.strip() and not self._pending:
            raise UserError("the message is empty -- expected text or audio; write a question")
        self.turns.append(ChatTurn(USER, text, self.pending))
        self._pending.clear()
        self._attempt = 0
        return self._answer()

    def regenerate(self) -> Iterator[str]:
        """Answer the last turn again, with another seed.

        Raises:
            UserError: there is no turn.
        """
        if not self.turns:
            raise UserError("there is no answer to generate again; send a message first")
        if self.turns[-1].role == ASSISTANT:
            self.turns.pop()
        self._attempt += 1
        return self._answer()

    def stop(self) -> None:
        """End the answer in progress; it stays in the conversation as far as it is."""
        self._stopping.set()

    def reset(self) -> None:
        """Forget all turns and clips."""
        self.stop()
        self.turns, self.audios = [], []
        self._pending, self._attempt = [], 0

    def save(self, folder: str | Path) -> Path:
        """Write turns and clips to a new folder.

        Raises:
            UserError: the folder exists and is not empty.
        """
        return save_conversation(folder, self.turns, self.audios, source=self._endpoint.config.base_url)

    def _answer(self) -> Iterator[str]:
        self._stopping.clear()
        turns, text, is_complete = self.turns, "", False
        pieces = self._endpoint.stream([self._message(turn) for turn in turns], self._sampling())
        try:
            for piece in pieces:
                text += piece
                yield piece
                if self._stopping.is_set():
                    break
            else:
                is_complete = True
        except UserError:
            if not text:  # the same message can be sent again
                turn = turns.pop()
                self._pending = [*turn.audios, *self._pending]
            raise
        finally:
            if turns and turns[-1].role == USER and (text or is_complete or self._stopping.is_set()):
                turns.append(ChatTurn(ASSISTANT, text, is_complete=is_complete))

    def _message(self, turn: ChatTurn) -> Message:
        if not turn.audios:
            return message(turn.role, turn.text)
        clips = [wave_part(self.audios[number - 1].wave, SAMPLES_PER_SECOND) for number in turn.audios]
        return message(turn.role, [*clips, *([text_part(turn.text)] if turn.text.strip() else [])])

    def _sampling(self) -> Sampling:
        options, sampling = self.options, self.options.sampling
        return Sampling(
            max_tokens=options.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p if sampling.top_p < 1 else None,
            seed=None if sampling.is_greedy else sampling.seed + self._attempt,
            stop=options.stop,
        )
