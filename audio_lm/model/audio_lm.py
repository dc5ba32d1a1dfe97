"""The audio-language model: it reads audio clips and text and predicts the next token.

It has four parts, and the first component of a parameter's name is its part; each part has its own learning
rate. Stages and tokenizers are not known here.

Shapes: T positions of text and audio, J audio tokens, S samples, N clips, P learned positions, D width, V tokens.
Source: Qwen-Audio, arXiv:2311.07919; Qwen2-Audio, arXiv:2407.10759, section 2.
"""

from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from audio_lm.common.audio_units import SHORTEST_CLIP
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.model.base import Encoder, Layout, Projector
from audio_lm.model.decoder.chunked_cross_entropy import NextTokenLoss, Weights, next_token_loss
from audio_lm.model.decoder.language_model import hidden_states, input_table, output_table
from audio_lm.model.decoder.new_tokens import NewTokens
from audio_lm.model.merge_audio import merge_audio


class PositionWeights(Protocol):
    """Objective that weighs positions by the losses of all of them."""

    def __call__(self, losses_P: Tensor, /) -> Tensor:
        """(P,) factor of the cross-entropy of each position; the losses are without gradient."""


class AudioLM(nn.Module):
    """Encoder, projector, language model and the rows of new tokens."""

    def __init__(
        self,
        encoder: Encoder,
        projector: Projector,
        language_model: PreTrainedModel,
        new_tokens: NewTokens,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector
        self.language_model = language_model
        self.new_tokens = new_tokens

    @property
    def num_base(self) -> int:
        """Rows of the language model's own embedding table; ids from this number on are new tokens."""
        return input_table(self.language_model).num_embeddings

    def forward(self, pack: PackedBatch) -> Tensor:
        """(P, V) next-token logits at the learned positions, in 32 bits."""
        return self.logits(self.hidden(pack)[pack.learned_index])

    def loss(
        self,
        pack: PackedBatch,
        *,
        weight: float = 1.0,
        weights_of: PositionWeights | None = None,
        temperature: float = 1.0,
    ) -> NextTokenLoss:
        """Next-token cross-entropy at the learned positions; logits are in memory one chunk at a time.

        Args:
            weight: factor of every position in the total.
            weights_of: gives a factor of each position instead. The gradient of any function of log-probabilities is that
                of a weighted cross-entropy, at the cost of computing the logits twice.
            temperature: divisor of the logits.
        """
        head = output_table(self.language_model)
        hidden_PD = self.hidden(pack)[pack.learned_index]
        loss_of = partial(
            next_token_loss,
            self.logits if temperature == 1.0 else lambda hidden_PD: self.logits(hidden_PD) / temperature,
            [*head.parameters(), *([self.new_tokens.output] if len(self.new_tokens.output) else [])],
            labels_P=pack.labels,
            num_rows=self.num_base + len(self.new_tokens.output),
        )
        if weights_of is None:
            return loss_of(hidden_PD=hidden_PD, weight=weight)
        with torch.no_grad():
            losses_P = loss_of(hidden_PD=hidden_PD.detach()).losses
            weights_P: Weights = weights_of(losses_P)
        total = loss_of(hidden_PD=hidden_PD, weight=weights_P).total
        return NextTokenLoss(total, losses_P)

    def hidden(self, pack: PackedBatch) -> Tensor:
        """(T, D) last hidden states of the language model."""
        return hidden_states(self.language_model, self.embed(pack), pack)

    def embed(self, pack: PackedBatch) -> Tensor:
        """(T, D) input embeddings of the language model: text tokens, with audio tokens at their positions."""
        text_TD = self.embed_tokens(pack.token_ids)
        if pack.num_samples:
            audio_JD = self.encode_audio(pack.waves, pack.num_samples, pack.augment, pack.clip_layout)
            audio_KD = audio_JD if pack.audio_source is None else audio_JD[pack.audio_source]
            return merge_audio(text_TD, audio_KD, pack.audio_index)
        # A pack without audio encodes a short silence, multiplied by 0: encoder and projector still get
        # gradients (zeros), which DDP expects, and with FSDP all ranks run the same all-gathers.
        silence_S = pack.waves.new_zeros(SHORTEST_CLIP)
        silence_JD = self.encode_audio(silence_S, (SHORTEST_CLIP,), None, pack.clip_layout)
        return text_TD + 0.0 * silence_JD.sum().to(text_TD.dtype)

    def encode_audio(
        self,
        waves_S: Tensor,
        num_samples: tuple[int, ...],
        augment_N6: Tensor | None = None,
        layout: Layout | None = None,
    ) -> Tensor:
        """(J, D) audio tokens of concatenated clips."""
        counts = [self.encoder.token_count.tokens_in(count) for count in num_samples]
        audio_JD: Tensor = self.projector(self.encoder(waves_S, num_samples, augment_N6, layout), counts)
        return audio_JD

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Embeddings of base and new tokens, with one more dimension than the ids."""
        num_base = self.num_base
        base: Tensor = input_table(self.language_model)(ids.clamp(max=num_base - 1))
        new = self.new_tokens(ids - num_base).to(base.dtype)
        if not len(self.new_tokens.input):
            return base + new  # zeros
        return torch.where((ids >= num_base)[..., None], new, base)

    def logits(self, hidden_PD: Tensor) -> Tensor:
        """(P, V) logits in 32 bits: base tokens first, then new tokens."""
        base_PV: Tensor = output_table(self.language_model)(hidden_PD)
        if not len(self.new_tokens.output):
            return base_PV.float()
        return torch.cat([base_PV.float(), self.new_tokens.logits(hidden_PD).float()], dim=-1)
