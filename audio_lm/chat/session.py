"""A conversation with a model about any number of clips.

Keys and values of all earlier turns are kept, so a new turn processes only its own clips and text. Several sessions use one
model, from one thread or several; they share nothing else. The history is kept as token ids: a greedy answer has the same
tokens as one without the kept keys and values.
"""

from collections.abc import Iterator
from pathlib import Path

import torch

from audio_lm.chat.conversation import ChatOptions, ChatTurn, Conversation
from audio_lm.chat.history import History
from audio_lm.common.errors import UserError
from audio_lm.model.decoder.kv_cache import decoding
from audio_lm.model.decoder.sampling import choose_tokens
from audio_lm.prompts.chatml import ASSISTANT, USER, render_next_turn
from audio_lm.prompts.conversation import Turn
from audio_lm.prompts.encode import encode
from audio_lm.prompts.stop_strings import StopStrings, TextStream
from audio_lm.run.load_model import LoadedModel, check_prompt, load_answering_model
from audio_lm.tasks.registry import CHAT


class ChatSession(Conversation):
    """A conversation with a model in this process."""

    def __init__(
        self, loaded: LoadedModel, options: ChatOptions | None = None, *, key: str = "session"
    ) -> None:
        """Start an empty conversation.

        Args:
            loaded: model, which other sessions may use, too.
            options: they may be replaced between turns.
            key: name of the session; with a seed and a number of the turn it determines what is sampled.

        Raises:
            UserError: the model was not trained for conversations.
        """
        check_chat_model(loaded)
        super().__init__(loaded.source, options, long_audio=loaded.long_audio)
        self._loaded = loaded
        self._key = key
        self._history = History(loaded)
        self._current: object | None = None  # identifies the answer that may write to the history

    @property
    def num_tokens(self) -> int:
        """Positions of the conversation in the model, text and audio."""
        return len(self._history)

    @property
    def answer_ids(self) -> list[int]:
        """Token ids of the last answer."""
        return self._history.answer_ids

    def _prepare(self, text: str) -> None:
        if self.turns and self.turns[-1].role == USER:  # its answer was not read to the end
            partial = self._loaded.vocabulary.text(self._history.answer_ids)
            self.turns.append(ChatTurn(ASSISTANT, partial, is_complete=False))
        content: tuple[str | int, ...] = (*self._pending, *([text] if text.strip() else []))
        encoded = encode(
            render_next_turn(
                Turn(USER, content),
                num_clips=len(self.audios) - len(self._pending),
                is_first=not self.turns,
            ),
            self._loaded.vocabulary,
            num_tokens_of_clip=[self._history.tokens_in(len(audio.wave)) for audio in self.audios],
        )
        waves = [torch.from_numpy(self.audios[number - 1].wave) for number in self._pending]
        self._history.add_prompt(encoded, waves)

    def _drop_answer(self) -> None:
        self._history.drop_answer()

    def reset(self) -> None:
        """Forget all turns and clips."""
        super().reset()
        self._current = None
        self._history = History(self._loaded)

    def forget_cache(self) -> None:
        """Release the memory of keys and values; the next turn processes the whole conversation again."""
        self._history.forget_cache()

    def _start(self) -> Iterator[str]:
        self._stopping.clear()
        self._current = ticket = object()
        return self._answer(ticket)

    def _answer(self, ticket: object) -> Iterator[str]:
        vocabulary, options, history = self._loaded.vocabulary, self.options, self._history
        ends = {vocabulary.end_id, vocabulary.turn_end_id}
        stop = StopStrings(vocabulary, options.stop)
        stream = TextStream(vocabulary, stop)
        is_complete = False
        try:
            for place in range(min(options.max_new_tokens, history.num_free)):
                if self._stopping.is_set() or self._current is not ticket:
                    break
                key = (self._key, len(self.turns), self._attempt, place)
                with decoding(self._loaded.model):
                    logits_1V = self._loaded.model.logits(history.process()[None])
                    token = int(choose_tokens(logits_1V, options.sampling, [key])[0])
                if token in ends:
                    is_complete = True
                    break
                history.add_answer_token(token)
                if (end := stop.end_of(history.answer_ids)) is not None:
                    is_complete = True
                    yield from filter(None, [stream.finish(history.answer_ids)])
                    history.cut_answer(end)
                    break
                if piece := stream.advance(history.answer_ids):
                    yield piece
            if self._current is ticket:
                yield from filter(None, [stream.finish(history.answer_ids)])
        finally:
            if self._current is ticket:
                self._current = None
                self.turns.append(ChatTurn(ASSISTANT, stream.text, is_complete=is_complete))


def open_chat_model(path: str | Path, *, stage: str | None = None, trusts_code: bool = False) -> LoadedModel:
    """Load a model for conversations.

    Args:
        path: folder of a run, a Qwen2-Audio folder, or the hub name of one.
        stage: of a run; by default the last that was trained with conversations, or else the last.

    Raises:
        UserError: there is no such model, or it was not trained for conversations.
    """
    loaded = load_answering_model(path, stage, task=CHAT, trusts_code=trusts_code)
    check_chat_model(loaded)
    return loaded


def check_chat_model(loaded: LoadedModel) -> None:
    """Check that a model was trained for conversations.

    Raises:
        UserError: it was not.
    """
    if loaded.prompt != "chatml":
        raise UserError(
            f"{loaded.source} was trained with prompt {loaded.prompt} -- expected chatml, the format of conversations; choose "
            f"another stage, or give it single questions with `audio-lm ask`"
        )
    if loaded.is_published:
        check_prompt(loaded.vocabulary, "chatml", source=loaded.source)
