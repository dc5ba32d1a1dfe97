"""How many weights a model has and what a step keeps in memory, from its settings alone.

Nothing is built but a language model without storage, so a laptop can ask about eight billion.

Source of the activations: bytes saved for the backward pass, measured per token and layer on
Qwen-7B and Whisper-large layers in 16 bits and written as multiples of their widths:
frozen 7 D + 3 I, trained 14.8 D + 3 I, encoder 8 D + 2 I per conv frame.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import nn

from audio_lm.model.config import ModelConfig
from audio_lm.model.encoders import ENCODERS
from audio_lm.model.language_model import new_language_model
from audio_lm.model.lora import num_update_weights
from audio_lm.model.part_names import SUFFIX
from audio_lm.model.projector import new_projector
from audio_lm.units import FRAMES_PER_SECOND, Seconds

CONV_FRAMES_PER_SECOND = FRAMES_PER_SECOND // 2
OPTIMIZER_BYTES = 12  # fp32 gradient and both moments


@dataclass(frozen=True)
class StepSize:
    """Memory of one rank in bytes."""

    weights: float
    """Of all parts, gradients and optimizer of the trained ones included."""

    activations: float
    """Kept for the backward pass of one pack."""

    logits: float
    """Of the learned positions of one pack."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.activations + self.logits


def num_parameters(config: ModelConfig, *, num_base: int, num_new: int) -> dict[str, int]:
    """Weights of every part.

    Args:
        num_base: rows of the language model's tables.
        num_new: tokens beyond those.

    Raises:
        RecipeError: the settings make no language model.
    """
    language_model = config.language_model
    with torch.device("meta"):
        model = new_language_model(language_model.architecture, language_model.settings, num_base=num_base)
        width = model.get_input_embeddings().embedding_dim
        encoder = ENCODERS[config.encoder.kind].shape(config.encoder)
        projector = new_projector(config.projector, encoder.width, width, scale=1.0)
        updates = {
            f"{part}{SUFFIX}": num_update_weights(_blank(part, config, model, projector), settings)
            for part, settings in config.lora.items()
        }
    return {
        "encoder": encoder.num_weights,
        "projector": sum(parameter.numel() for parameter in projector.parameters()),
        "new_tokens": 2 * num_new * width,
        "language_model": sum(parameter.numel() for parameter in model.parameters()),
        **updates,
    }


def _blank(part: str, config: ModelConfig, language_model: nn.Module, projector: nn.Module) -> nn.Module:
    if part == "encoder":
        return ENCODERS[config.encoder.kind].blank(config.encoder)
    return projector if part == "projector" else language_model


def step_size(
    config: ModelConfig,
    counts: dict[str, int],
    trained: Collection[str],
    *,
    tokens: int,
    audio_seconds: Seconds,
    learned_tokens: int,
    num_ids: int,
    num_ranks: int,
    is_half: bool,
    shares_frozen: bool = False,
) -> StepSize:
    """What a rank needs at the peak of a step.

    Args:
        trained: parts that learn; they are shared out over the ranks.
        shares_frozen: frozen ones are too; else they are on each.
        num_ids: columns of the logits.
        is_half: 16 bits for frozen weights and activations.
    """
    narrow = 2 if is_half else 4
    copies = 4 + OPTIMIZER_BYTES + (narrow if is_half else 0)
    of_frozen = 4 / num_ranks if shares_frozen else narrow
    weights = sum(
        count * (copies / num_ranks if part in trained else of_frozen) for part, count in counts.items()
    )
    settings = config.language_model.settings
    width, inner = int(settings["hidden_size"]), int(settings["intermediate_size"])
    of_width = 14.8 if _learns("language_model", trained) else 7.0
    per_token = (of_width * width + 3 * inner) * int(settings["num_hidden_layers"])
    encoder = ENCODERS[config.encoder.kind].shape(config.encoder)
    per_frame = 0  # of a frozen encoder nothing is kept
    if _learns("encoder", trained):
        per_frame = (8 * encoder.width + 2 * encoder.mlp_width) * encoder.num_layers
    frames = audio_seconds * CONV_FRAMES_PER_SECOND
    return StepSize(
        weights=weights,
        activations=narrow * (tokens * per_token + frames * per_frame),
        logits=2.0 * 4 * learned_tokens * num_ids,
    )


def _learns(part: str, trained: Collection[str]) -> bool:
    """Itself or its updates; what an update needs of a layer's input is counted as if the layer learned."""
    return part in trained or f"{part}{SUFFIX}" in trained
