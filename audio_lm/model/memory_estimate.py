"""How many weights a model has and what a step keeps in memory, from its settings alone.

Nothing with storage is built, so a laptop can ask about eight billion.

Activations are what autograd saves of each layer, in values per token or frame: D width, A width of all heads, I inner.
A frozen layer passes gradients on and keeps the inputs of its two norms, queries, keys, values, what was attended, and three
of the feed-forward's products; a trained one keeps the input of every weight as well. In 16 bits the norms compute in 32.
Source: counted on the layers of transformers 5 (``audio-lm bench step`` compares them with measured peaks).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PretrainedConfig

from audio_lm.common.audio_units import FRAMES_PER_SECOND, Seconds
from audio_lm.model.config import ModelConfig
from audio_lm.model.decoder.chunked_cross_entropy import CHUNK_VALUES
from audio_lm.model.projector import new_projector
from audio_lm.model.resolve_sizes import resolved_encoder, text_settings
from audio_lm.model.shapes import ENCODER_SHAPES, num_language_model_weights
from audio_lm.model.weights.part_names import SUFFIX

CONV_FRAMES_PER_SECOND = FRAMES_PER_SECOND // 2
MASTER_BYTES, GRADIENT_BYTES, MOMENT_BYTES = 4, 4, 4  # of a trained weight, always in 32 bits


@dataclass(frozen=True)
class StepSize:
    """Memory of one rank in bytes."""

    weights: float
    """Of all parts, moments of the trained ones included."""

    gradients: float
    """Of the trained parts."""

    activations: float
    """Kept for the backward pass of one pack."""

    logits: float
    """Of as many learned positions as stand in memory together, and the output layer's gradient, formed with them."""

    accumulates: bool
    """Whether gradients are there while a pack goes forward, because another was before it."""

    @property
    def total(self) -> float:
        """The peak. Gradients come as activations go, so one pack alone never holds all of both."""
        passing = self.activations + self.logits
        return self.weights + (self.gradients + passing if self.accumulates else max(self.gradients, passing))


def num_parameters(config: ModelConfig, *, num_base: int, num_new: int) -> dict[str, int]:
    """Weights of every part.

    Args:
        num_base: rows of the language model's tables.
        num_new: tokens beyond those.

    Raises:
        RecipeError: the settings make no language model.
    """
    text = text_settings(config, num_base=num_base)
    width = int(text.hidden_size)
    encoder = ENCODER_SHAPES[config.encoder.kind](config.encoder)
    with torch.device("meta"):
        projector = new_projector(config.projector, encoder.width, width, scale=1.0)
    return {
        "encoder": encoder.num_weights,
        "projector": sum(parameter.numel() for parameter in projector.parameters()),
        "new_tokens": 2 * num_new * width,
        "language_model": num_language_model_weights(text, trust_remote_code=config.trust_remote_code),
        **_num_update_weights(config, text, projector),
    }


def _num_update_weights(config: ModelConfig, text: PretrainedConfig, projector: nn.Module) -> dict[str, int]:
    if not config.lora:
        return {}
    from audio_lm.model.decoder.language_model import empty_language_model
    from audio_lm.model.encoders.registry import ENCODERS  # these import modelling code, which takes seconds
    from audio_lm.model.lora import num_update_weights

    blank: dict[str, Callable[[], nn.Module]] = {
        "encoder": lambda: ENCODERS[config.encoder.kind].blank(config.encoder),
        "projector": lambda: projector,
        "language_model": lambda: empty_language_model(text, trust_remote_code=config.trust_remote_code),
    }
    with torch.device("meta"):
        return {
            f"{part}{SUFFIX}": num_update_weights(blank[part](), settings)
            for part, settings in config.lora.items()
        }


def step_size(
    config: ModelConfig,
    counts: dict[str, int],
    trained: Collection[str],
    *,
    tokens: int,
    audio_seconds: Seconds,
    learned_tokens: int,
    num_ids: int,
    num_ranks: int = 1,
    is_half: bool = False,
    is_muon: bool = False,
    accumulates: bool = False,
    shard_frozen: bool = False,
) -> StepSize:
    """What a rank needs at the peak of a step.

    Args:
        trained: parts that learn; they are shared out over the ranks.
        shard_frozen: frozen ones are too; else they are on each.
        num_ids: columns of the logits.
        is_half: 16 bits for frozen weights and activations.
        is_muon: hidden matrices have one moment and not two.
        accumulates: a rank hears several packs in a step.
    """
    narrow = 2 if is_half else 4
    text = text_settings(config)
    tables = {"language_model": 2 * num_ids * int(text.hidden_size)}
    weights = gradients = 0.0
    for part, count in counts.items():
        if part not in trained:
            weights += (4 / num_ranks if shard_frozen else narrow) * count
            continue
        of_tables = min(count, tables.get(part, count if part not in ("encoder", "projector") else 0))
        moments = 2 * of_tables + (1 if is_muon else 2) * (count - of_tables)
        copies = MASTER_BYTES + (narrow if is_half else 0)
        weights += (copies * count + MOMENT_BYTES * moments) / num_ranks
        gradients += GRADIENT_BYTES * count / num_ranks
    passed = _language_model_values(config, text, trained, is_half=is_half) * tokens
    passed += _encoder_values(config, trained) * audio_seconds * CONV_FRAMES_PER_SECOND
    return StepSize(
        weights=weights,
        gradients=gradients,
        activations=narrow * passed,
        logits=4.0 * min(learned_tokens * num_ids, CHUNK_VALUES)
        + ("language_model" in trained) * tables["language_model"] / 2 * GRADIENT_BYTES,
        accumulates=accumulates,
    )


def _language_model_values(
    config: ModelConfig, text: PretrainedConfig, trained: Collection[str], *, is_half: bool
) -> float:
    """Kept per token; nothing, where no gradient comes by."""
    if not set(trained):
        return 0.0
    width, heads = int(text.hidden_size), int(text.num_attention_heads)
    inner = int(getattr(text, "intermediate_size", None) or 4 * width)
    attended = heads * int(getattr(text, "head_dim", None) or width // heads)
    learns, has_updates = "language_model" in trained, f"language_model{SUFFIX}" in trained
    of_layer = 2 * width + 4 * attended + 3 * inner
    if learns:
        of_layer += 4 * width + inner
    elif has_updates:
        of_layer += 2 * width + inner + 7 * config.lora["language_model"].rank
    if is_half:
        of_layer += (2 if learns else 1) * width
    # The last layer's feed-forward, on its way back, before anything of the layers is given free.
    return float(of_layer * int(text.num_hidden_layers) + 2 * inner)


def _encoder_values(config: ModelConfig, trained: Collection[str]) -> float:
    """Kept per conv frame; nothing of a frozen encoder."""
    if not any(name in trained for name in ("encoder", f"encoder{SUFFIX}")):
        return 0.0
    shape = ENCODER_SHAPES[config.encoder.kind](config.encoder)
    of_layers = (8 * shape.width + 2 * shape.mlp_width) * shape.num_layers
    num_mels = resolved_encoder(config.encoder, is_planned=True).sizes.num_mels
    return float(of_layers + 7.5 * shape.width + 6 * num_mels)
