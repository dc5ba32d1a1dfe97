"""The step to compare with: Hugging Face's Qwen2-Audio, with clips padded to 30 s and rows padded to the longest.

It has our weights and gets our clips, so that both models compute the same loss.

Shapes: B conversations, L longest of them in tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor
from transformers.initialization import no_init_weights

from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.data.example import Example
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.config import ModelConfig
from audio_lm.model.lora import add_lora

NOT_LEARNED = -100
PARTS = {
    "encoder": "model.audio_tower.",
    "projector": "model.multi_modal_projector.",
    "language_model": "model.language_model.",
}
"""Our parts -> prefix of their names in Hugging Face's model; the output layer has its own prefix."""

HEAD = "lm_head."


@dataclass(frozen=True)
class PeerBatch:
    """Conversations as padded rows, and their clips."""

    token_ids: Tensor  # (B, L)
    mask: Tensor  # (B, L)
    labels: Tensor  # (B, L)
    waves: Sequence[np.ndarray]


class Peer:
    """Hugging Face's model and its feature extractor."""

    def __init__(self, model: nn.Module, extractor: WhisperFeatureExtractor) -> None:
        self.model = model
        self.extractor = extractor

    def loss(self, batch: PeerBatch) -> Tensor:
        """Mean loss of the learned tokens; computes the log-mel too."""
        device = next(self.model.parameters()).device
        features = self.features(batch)
        output = self.model(
            input_ids=batch.token_ids.to(device),
            attention_mask=batch.mask.to(device),
            input_features=features["input_features"].to(device),
            feature_attention_mask=features["attention_mask"].to(device),
            labels=batch.labels.to(device),
            use_cache=False,
        )
        loss: Tensor = output.loss
        return loss

    def features(self, batch: PeerBatch) -> dict[str, Tensor]:
        """Log-mel spectrograms, padded to 30 s per clip."""
        features = self.extractor(
            list(batch.waves),
            sampling_rate=SAMPLES_PER_SECOND,
            return_tensors="pt",
            return_attention_mask=True,
        )
        return dict(features)


def build_peer(ours: AudioLM, config: ModelConfig, audio_id: int) -> Peer:
    """Build Hugging Face's model with the weights of ours.

    Args:
        audio_id: id of the audio token.
    """
    encoder, text = config.encoder.sizes, ours.language_model.config.to_dict()
    settings = Qwen2AudioConfig(
        audio_config={
            "num_mel_bins": encoder.num_mels,
            "d_model": encoder.width,
            "encoder_layers": encoder.num_layers,
            "encoder_attention_heads": encoder.num_heads,
            "encoder_ffn_dim": encoder.mlp_width,
        },
        text_config=text,
        audio_token_index=audio_id,
        attn_implementation="sdpa",  # type: ignore[call-arg]  # read by every configuration, listed by none
    )
    first = next(ours.parameters())
    with first.device, no_init_weights():
        theirs = Qwen2AudioForConditionalGeneration(settings)
    for part, updates in config.lora.items():
        add_lora(theirs.get_submodule(PARTS[part].removesuffix(".")), updates)
    # Frozen weights share memory with ours.
    weights = dict(
        values_by_peer_name(ours, lambda weight: weight.detach().clone() if weight.requires_grad else weight)
    )
    trained = set(dict(values_by_peer_name(ours, lambda weight: weight if weight.requires_grad else None)))
    theirs.load_state_dict(weights, strict=True, assign=True)
    for name, parameter in theirs.named_parameters():
        parameter.requires_grad_(name in trained)
    return Peer(theirs, WhisperFeatureExtractor(feature_size=encoder.num_mels))


class ValueOf(Protocol):
    """Value that belongs to a weight."""

    def __call__(self, weight: Tensor, /) -> Tensor | None:
        """Value of a weight; None where it has none."""


def values_by_peer_name(ours: AudioLM, value: ValueOf) -> Iterator[tuple[str, Tensor]]:
    """Yield a value of each of our weights, such as its gradient, with the weight's name in Hugging Face's model.

    Args:
        value: gives the value of a weight; None skips it.
    """
    for part, prefix in PARTS.items():
        for name, weight in getattr(ours, part).state_dict(keep_vars=True).items():
            if (result := value(weight)) is not None:
                yield _peer_name(part, prefix, name), result


def _peer_name(part: str, prefix: str, name: str) -> str:
    if part != "language_model":
        return prefix + name
    return name if name.startswith(HEAD) else prefix + name.removeprefix("model.")


def peer_batch(examples: Sequence[Example], waves: Sequence[np.ndarray]) -> PeerBatch:
    """Collate examples as rows, padded on the right to the longest."""
    longest = max(map(len, examples))
    rows = torch.zeros(len(examples), longest, dtype=torch.long)
    mask, labels = torch.zeros_like(rows), torch.full_like(rows, NOT_LEARNED)
    for row, example in enumerate(examples):
        ids = torch.tensor(example.token_ids)
        rows[row, : len(example)], mask[row, : len(example)] = ids, 1
        labels[row, : len(example)] = torch.where(torch.tensor(example.is_learned), ids, NOT_LEARNED)
    return PeerBatch(rows, mask, labels, waves)
