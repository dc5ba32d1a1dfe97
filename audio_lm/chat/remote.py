"""A conversation with a model behind an OpenAI-compatible endpoint; the whole conversation is sent with every turn."""

from collections.abc import Iterator

from audio_lm.chat.conversation import ChatOptions, ChatTurn, Conversation
from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.common.chat_endpoint import ChatEndpoint, Message, Sampling
from audio_lm.common.chat_parts import message, text_part, wave_part
from audio_lm.common.errors import UserError
from audio_lm.prompts.chatml import ASSISTANT, USER


class RemoteConversation(Conversation):
    """A conversation with a model of another program."""

    def __init__(self, endpoint: ChatEndpoint, options: ChatOptions | None = None) -> None:
        """Start an empty conversation.

        Raises:
            UserError: an option that the protocol does not have.
        """
        super().__init__(endpoint.config.base_url, options)
        if self.options.sampling.top_k is not None:
            raise UserError("top-k is no option of OpenAI-compatible endpoints; leave it out, or use top-p")
        self._endpoint = endpoint

    def _prepare(self, text: str) -> None:
        """Nothing: the whole conversation is sent with every turn."""

    def _drop_answer(self) -> None:
        """Nothing: an answer is kept in ``turns`` alone."""

    def _start(self) -> Iterator[str]:
        self._stopping.clear()
        return self._answer()

    def _answer(self) -> Iterator[str]:
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
