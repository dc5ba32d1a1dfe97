"""Keys and values of the tokens that were processed, so that a new token or a new turn processes only itself.

One lock per model: the attention implementation of a model is a setting of the whole model, and several conversations
may use one model from several threads.

Shapes: B rows, L new positions, T positions of a conversation, D width, J audio tokens.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import DynamicCache

from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.decoder.language_model import use_padded_attention
from audio_lm.model.merge_audio import merge_audio


class _Use:
    """Use of a model by one thread at a time."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.depth = 0  # of nested contexts of the thread that holds the lock


_uses: "WeakKeyDictionary[AudioLM, _Use]" = WeakKeyDictionary()
_uses_guard = threading.Lock()


@contextmanager
def decoding(model: AudioLM) -> Iterator[None]:
    """Context in which this thread alone runs the model, with attention for padded rows and a cache, without gradients.

    It may be nested.
    """
    with _uses_guard:
        use = _uses.setdefault(model, _Use())
    with use.lock, torch.no_grad():
        use.depth += 1
        try:
            with nullcontext() if use.depth > 1 else use_padded_attention(model.language_model):
                yield
        finally:
            use.depth -= 1


class DecodingRows:
    """Rows of padded conversations that are decoded together."""

    def __init__(self, model: AudioLM) -> None:
        self._model = model
        self._cache = DynamicCache()
        self._mask_BL: Tensor | None = None
        self._positions_B1: Tensor | None = None

    def append(self, embedded_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """Process new positions; returns the (B, D) hidden states of the last one.

        Args:
            mask_BL: 0 for padding, which is on the left.
        """
        past_BL = mask_BL.new_zeros(len(mask_BL), 0) if self._mask_BL is None else self._mask_BL
        self._mask_BL = torch.cat([past_BL, mask_BL], dim=1)
        positions_BL = (self._mask_BL.cumsum(1) - 1).clamp(min=0)[:, -mask_BL.shape[1] :]
        states_BLD = self._model.language_model.base_model(
            inputs_embeds=embedded_BLD,
            attention_mask=self._mask_BL,
            position_ids=positions_BL,
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        last_BD: Tensor = states_BLD[:, -1]
        return last_BD

    def append_tokens(self, tokens_B: Tensor) -> Tensor:
        """Process one new token of every row; returns the (B, D) hidden states."""
        return self.append(self._model.embed_tokens(tokens_B[:, None]), tokens_B.new_ones(len(tokens_B), 1))

    def repeat(self, count: int) -> None:
        """Repeat every row; the copies stand together."""
        if count > 1 and self._mask_BL is not None:
            self._cache.batch_repeat_interleave(count)
            self._mask_BL = self._mask_BL.repeat_interleave(count, 0)

    def select(self, rows: Tensor) -> None:
        """Keep only these rows."""
        assert self._mask_BL is not None, "there are no rows yet"
        self._cache.batch_select_indices(rows)
        self._mask_BL = self._mask_BL[rows]


class ConversationCache:
    """Keys and values of one conversation, which grows by turns."""

    def __init__(self, model: AudioLM) -> None:
        self._model = model
        self._cache = DynamicCache()

    def __len__(self) -> int:
        """Number of processed positions."""
        return int(self._cache.get_seq_length())

    def append(
        self, token_ids: Sequence[int], audio_index: Sequence[int] = (), waves: Sequence[Tensor] = ()
    ) -> Tensor:
        """Process new positions, and encode the clips among them; returns the (D,) hidden state of the last one.

        Args:
            token_ids: new ones only; audio positions have the placeholder's id.
            audio_index: positions of the audio tokens in ``token_ids``.
            waves: 16 kHz clips (S,), in reading order.
        """
        model = self._model
        device = model.new_tokens.input.device
        embedded_TD = model.embed_tokens(torch.tensor(token_ids, dtype=torch.long, device=device))
        if waves:
            audio_JD = model.encode_audio(torch.cat([*waves]).to(device), tuple(map(len, waves)))
            index = torch.tensor(audio_index, dtype=torch.long, device=device)
            embedded_TD = merge_audio(embedded_TD, audio_JD, index)
        past = len(self)
        end = past + len(token_ids)
        states_TD = model.language_model.base_model(
            inputs_embeds=embedded_TD[None],
            attention_mask=torch.ones(1, end, dtype=torch.long, device=device),
            position_ids=torch.arange(past, end, device=device)[None],
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state[0]
        last_D: Tensor = states_TD[-1]
        return last_D

    def crop(self, length: int) -> None:
        """Forget the positions from ``length`` on."""
        extra = len(self) - length
        if extra > 0:
            self._cache.crop(-extra)  # transformers 5.23 accepts no absolute length
