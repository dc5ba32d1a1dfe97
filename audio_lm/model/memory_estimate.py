"""Estimate the number of weights of a model and the peak memory of a training step from its settings.

No weights are allocated, so a laptop can plan a model of eight billion parameters.

Activations are the values that autograd saves in each layer, counted per token or per frame. A frozen layer that
gradients pass through saves the inputs of its two norms, queries, keys, values, the attention output and three
products of the feed-forward network. A trained layer also saves the input of every weight. With 16-bit activations
the norms compute in 32 bits.
Source: counted on the layers of transformers 5; ``audio-lm bench step`` compares the estimate with measured peaks.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PretrainedConfig

from audio_lm.common.audio_units import FRAMES_PER_SECOND, Seconds
from audio_lm.model.config import ModelConfig
from audio_lm.model.decoder.chunked_cross_entropy import CHUNK_VALUES
from audio_lm.model.resolve_sizes import resolve_encoder_sizes, text_settings
from audio_lm.model.shapes import ENCODER_SHAPES, num_language_model_weights, num_projector_weights
from audio_lm.model.weights.part_names import SUFFIX

CONV_FRAMES_PER_SECOND = FRAMES_PER_SECOND // 2
MASTER_BYTES, GRADIENT_BYTES, MOMENT_BYTES = 4, 4, 4  # per trained weight, always in 32 bits


@dataclass(frozen=True)
class StepSize:
    """Estimated memory of one rank in a training step, in bytes."""

    weights: float
    """Weights of all parts, and optimizer moments of the trained parts."""

    gradients: float
    """Gradients of the trained parts."""

    activations: float
    """Activations saved for the backward pass of one pack."""

    logits: float
    """Logits of one chunk of learned positions, and the gradient of the output layer, which is computed with them."""

    accumulates: bool
    """True with gradient accumulation: gradients of earlier packs are in memory during the forward pass."""

    @property
    def total(self) -> float:
        """Peak memory.

        Without gradient accumulation, activations are freed while gradients are allocated, so the peak has the
        larger of the two and not their sum.
        """
        forward = self.activations + self.logits
        return self.weights + (self.gradients + forward if self.accumulates else max(self.gradients, forward))


def num_parameters(config: ModelConfig, *, num_base: int, num_new: int) -> dict[str, int]:
    """Number of weights of every part.

    Args:
        num_base: vocabulary size of the language model.
        num_new: number of new tokens.

    Raises:
        RecipeError: the settings are invalid for the architecture.
    """
    text = text_settings(config, num_base=num_base)
    width = int(text.hidden_size)
    encoder = ENCODER_SHAPES[config.encoder.kind](config.encoder)
    return {
        "encoder": encoder.num_weights,
        "projector": num_projector_weights(config.projector, encoder.width, width),
        "new_tokens": 2 * num_new * width,
        "language_model": num_language_model_weights(text, trust_remote_code=config.trust_remote_code),
        **_num_update_weights(config, text, encoder.width),
    }


def _num_update_weights(config: ModelConfig, text: PretrainedConfig, encoder_width: int) -> dict[str, int]:
    if not config.lora:
        return {}
    # Imported here: modeling code takes seconds to import.
    from audio_lm.model.decoder.language_model import empty_language_model
    from audio_lm.model.encoders.registry import ENCODERS
    from audio_lm.model.lora import num_update_weights
    from audio_lm.model.projector import new_projector

    blank: dict[str, Callable[[], nn.Module]] = {
        "encoder": lambda: ENCODERS[config.encoder.kind].build_empty(config.encoder),
        "projector": lambda: new_projector(config.projector, encoder_width, int(text.hidden_size), scale=1.0),
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
    """Estimate the memory of a rank in a training step.

    Args:
        counts: number of weights of each part, from ``num_parameters``.
        trained: trained parts; they are sharded over the ranks.
        tokens: positions of a pack.
        audio_seconds: audio of a pack.
        learned_tokens: learned positions of a pack.
        num_ids: vocabulary size with new tokens, the number of columns of the logits.
        num_ranks: number of ranks that share the trained parts.
        is_half: activations are in 16 bits, and so are the copies of weights that products read.
        is_muon: hidden matrices are trained with Muon, which has one moment instead of two.
        accumulates: a rank processes several packs in a step.
        shard_frozen: frozen parts are sharded as well; otherwise every rank has a full copy.
    """
    value_bytes = 2 if is_half else 4
    text = text_settings(config)
    tables = {"language_model": 2 * num_ids * int(text.hidden_size)}
    weights = gradients = 0.0
    for part, count in counts.items():
        if part not in trained:
            weights += MASTER_BYTES / (num_ranks if shard_frozen else 1) * count
            # Autocast converts a weight at each use; the gradient of the layer's input needs the copy.
            weights += value_bytes * count if is_half and _passes_gradients(part, trained) else 0
            continue
        in_tables = min(count, tables.get(part, count if part not in ("encoder", "projector") else 0))
        moments = 2 * in_tables + (1 if is_muon else 2) * (count - in_tables)
        copies = MASTER_BYTES + (value_bytes if is_half else 0)
        weights += (copies * count + MOMENT_BYTES * moments) / num_ranks
        gradients += GRADIENT_BYTES * count / num_ranks
    saved = _language_model_values(config, text, trained, is_half=is_half) * tokens
    saved += _encoder_values(config, trained) * audio_seconds * CONV_FRAMES_PER_SECOND
    return StepSize(
        weights=weights,
        gradients=gradients,
        activations=value_bytes * saved,
        logits=4.0 * min(learned_tokens * num_ids, CHUNK_VALUES)
        + ("language_model" in trained) * tables["language_model"] / 2 * GRADIENT_BYTES,
        accumulates=accumulates,
    )


def _passes_gradients(part: str, trained: Collection[str]) -> bool:
    """True if the gradients of another part pass through a frozen one."""
    inputs = {"projector", "new_tokens"} if part == "language_model" else set[str]()
    if part in ("language_model", "projector"):
        inputs |= {"encoder", f"encoder{SUFFIX}"}
    return not {*inputs, f"{part}{SUFFIX}"}.isdisjoint(trained)


def _language_model_values(
    config: ModelConfig, text: PretrainedConfig, trained: Collection[str], *, is_half: bool
) -> float:
    """Number of values saved per token; 0 if nothing is trained, so that no gradient passes through."""
    if not set(trained):
        return 0.0
    width, heads = int(text.hidden_size), int(text.num_attention_heads)
    inner = int(getattr(text, "intermediate_size", None) or 4 * width)
    head_widths = heads * int(getattr(text, "head_dim", None) or width // heads)
    is_trained, has_updates = "language_model" in trained, f"language_model{SUFFIX}" in trained
    per_layer = 2 * width + 4 * head_widths + 3 * inner
    if is_trained:
        per_layer += 4 * width + inner
    elif has_updates:
        per_layer += 2 * width + inner + 7 * config.lora["language_model"].rank
    if is_half:
        per_layer += (2 if is_trained else 1) * width
    # Plus the gradients inside the last layer's feed-forward network: they are allocated before any layer is freed.
    return float(per_layer * int(text.num_hidden_layers) + 2 * inner)


def _encoder_values(config: ModelConfig, trained: Collection[str]) -> float:
    """Number of values saved per conv frame; 0 for a frozen encoder."""
    if not any(name in trained for name in ("encoder", f"encoder{SUFFIX}")):
        return 0.0
    shape = ENCODER_SHAPES[config.encoder.kind](config.encoder)
    per_frame = (8 * shape.width + 2 * shape.mlp_width) * shape.num_layers
    num_mels = resolve_encoder_sizes(config.encoder, is_planned=True).sizes.num_mels
    return float(per_frame + 7.5 * shape.width + 6 * num_mels)
