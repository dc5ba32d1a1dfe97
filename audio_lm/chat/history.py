"""Token ids and clips of a conversation, and the part of them that the model has processed."""

from collections.abc import Sequence

from torch import Tensor

from audio_lm.common.errors import UserError
from audio_lm.model.decoder.kv_cache import ConversationCache
from audio_lm.model.encoders.token_count import audio_token_count
from audio_lm.prompts.encode import Encoding
from audio_lm.run.load_model import LoadedModel


class History:
    """Tokens of a conversation: prompts, and answers between them."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._model = loaded.model
        self._token_count = audio_token_count(loaded.config)
        settings = loaded.model.language_model.config.get_text_config()
        self._max_tokens: int | None = getattr(settings, "max_position_embeddings", None)
        self._cache = ConversationCache(loaded.model)
        self._ids: list[int] = []
        self._audio_index: list[int] = []
        self._waves: list[tuple[int, Tensor]] = []  # position of the first audio token, and samples
        self._prompt_end = 0

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def answer_ids(self) -> list[int]:
        """Tokens of the last answer."""
        return self._ids[self._prompt_end :]

    @property
    def num_free(self) -> int:
        """Number of tokens that the model has positions for, besides those of the conversation."""
        return 1 << 30 if self._max_tokens is None else max(0, self._max_tokens - len(self._ids))

    def tokens_in(self, num_samples: int) -> int:
        """Number of audio tokens of a clip."""
        return self._token_count.tokens_in(num_samples)

    def add_prompt(self, encoded: Encoding, waves: Sequence[Tensor]) -> None:
        """Add a turn, up to where its answer starts.

        Args:
            encoded: with positions from 0 in the turn.
            waves: 16 kHz clips of the turn.

        Raises:
            UserError: the conversation becomes too long for the model.
        """
        total = len(self._ids) + len(encoded.token_ids)
        if self._max_tokens is not None and total >= self._max_tokens:
            raise UserError(
                f"the conversation would have {total} tokens -- the model has {self._max_tokens} positions; start a new one "
                f"(/reset), or give less audio"
            )
        start, first = len(self._ids), 0
        self._ids += encoded.token_ids
        self._audio_index += [start + place for place in encoded.audio_index]
        for wave in waves:
            self._waves.append((start + encoded.audio_index[first], wave))
            first += self.tokens_in(len(wave))
        self._prompt_end = len(self._ids)

    def add_answer_token(self, token: int) -> None:
        """Add a generated token, which is processed with the next call of ``process``."""
        self._ids.append(token)

    def cut_answer(self, num_tokens: int) -> None:
        """Keep only the first tokens of the last answer."""
        del self._ids[self._prompt_end + num_tokens :]
        self._cache.crop(len(self._ids))

    def drop_answer(self) -> None:
        """Remove the last answer."""
        self.cut_answer(0)

    def forget_cache(self) -> None:
        """Forget what was processed."""
        self._cache = ConversationCache(self._model)

    def process(self) -> Tensor:
        """Process what is new; returns the (D,) hidden state of the last position."""
        # The last position is processed again after an answer was dropped, because its state was not kept.
        self._cache.crop(len(self._ids) - 1)
        start = len(self._cache)
        return self._cache.append(
            self._ids[start:],
            [place - start for place in self._audio_index if place >= start],
            [wave for place, wave in self._waves if place >= start],
        )
