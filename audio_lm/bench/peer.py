"""The step people use now: Hugging Face's Qwen2-Audio, every clip padded to 30 s, every row to the longest.

Its weights are ours and its clips are ours, so that both compute the same loss.

Shapes: B conversations, L longest of them in tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor
from transformers.initialization import no_init_weights

from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.data.examples import Example
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.config import ModelConfig
from audio_lm.model.lora import add_lora

NOT_LEARNED = -100
PARTS = {
    "encoder": "model.audio_tower.",
    "projector": "model.multi_modal_projector.",
    "language_model": "model.language_model.",
}
"""Our parts -> how their names begin there; the output layer stands outside of all."""

HEAD = "lm_head."


@dataclass(frozen=True)
class PeerBatch:
    """Conversations as rows of one length, and their clips."""

    token_ids: Tensor  # (B, L)
    mask: Tensor  # (B, L)
    labels: Tensor  # (B, L)
    waves: Sequence[np.ndarray]


class Peer:
    """Hugging Face's model and what turns clips into its input."""

    def __init__(self, model: nn.Module, extractor: WhisperFeatureExtractor) -> None:
        self.model = model
        self.extractor = extractor

    def loss(self, batch: PeerBatch) -> Tensor:
        """Mean loss of the learned tokens, log-mel included."""
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
        """Log-mels of 30 s for each clip."""
        features: dict[str, Tensor] = self.extractor(
            list(batch.waves),
            sampling_rate=SAMPLES_PER_SECOND,
            return_tensors="pt",
            return_attention_mask=True,
        )
        return features


def peer_of(ours: AudioLM, config: ModelConfig, audio_id: int) -> Peer:
    """Their model with the weights of ours.

    Args:
        audio_id: the token that stands in the audio places.
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
        attn_implementation="sdpa",
    )
    first = next(ours.parameters())
    with first.device, no_init_weights():
        theirs = Qwen2AudioForConditionalGeneration(settings)
    for part, updates in config.lora.items():
        add_lora(theirs.get_submodule(PARTS[part].removesuffix(".")), updates)
    # Frozen weights are the same memory.
    weights = dict(in_their_names(ours, lambda one: one.detach().clone() if one.requires_grad else one))
    learning = set(dict(in_their_names(ours, lambda one: one if one.requires_grad else None)))
    theirs.load_state_dict(weights, strict=True, assign=True)
    for name, parameter in theirs.named_parameters():
        parameter.requires_grad_(name in learning)
    return Peer(theirs, WhisperFeatureExtractor(feature_size=encoder.num_mels))


def in_their_names(ours: AudioLM, value: Callable[[Tensor], Tensor | None]) -> Iterator[tuple[str, Tensor]]:
    """Something of each of our weights, such as its gradient, under the name it has there; where it is none, nothing."""
    for part, prefix in PARTS.items():
        for name, one in getattr(ours, part).state_dict(keep_vars=True).items():
            if (found := value(one)) is not None:
                yield _their_name(part, prefix, name), found


def _their_name(part: str, prefix: str, name: str) -> str:
    if part != "language_model":
        return prefix + name
    return name if name.startswith(HEAD) else prefix + name.removeprefix("model.")


def peer_batch(examples: Sequence[Example], waves: Sequence[np.ndarray]) -> PeerBatch:
    """Rows padded on the right to the longest."""
    longest = max(map(len, examples))
    rows = torch.zeros(len(examples), longest, dtype=torch.long)
    mask, labels = torch.zeros_like(rows), torch.full_like(rows, NOT_LEARNED)
    for row, example in enumerate(examples):
        ids = torch.tensor(example.token_ids)
        rows[row, : len(example)], mask[row, : len(example)] = ids, 1
        labels[row, : len(example)] = torch.where(torch.tensor(example.is_learned), ids, NOT_LEARNED)
    return PeerBatch(rows, mask, labels, waves)
