"""Sizes of encoders and language models, computed from settings.

Modeling code of ``transformers`` takes seconds to import, so it is imported only where a kind needs it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PretrainedConfig

from audio_lm.model.config import EncoderConfig, ProjectorConfig
from audio_lm.model.encoders.hf_settings import speech_settings
from audio_lm.model.resolve_sizes import resolve_encoder_sizes


@dataclass(frozen=True)
class EncoderShape:
    """Size of an encoder."""

    num_weights: int
    width: int
    mlp_width: int
    num_layers: int


def _whisper_shape(config: EncoderConfig) -> EncoderShape:
    sizes = resolve_encoder_sizes(config, is_planned=True).sizes
    width, inner = sizes.width, sizes.mlp_width
    convolutions = 3 * width * (sizes.num_mels + width) + 2 * width
    attention = 4 * width * width + 3 * width  # keys have no bias
    layer = attention + 2 * width * inner + inner + width + 4 * width
    num_weights = convolutions + sizes.num_layers * layer + 2 * width
    return EncoderShape(num_weights, width, inner, sizes.num_layers)


def _speech_shape(config: EncoderConfig) -> EncoderShape:
    from audio_lm.model.encoders.registry import ENCODERS  # imports modeling code

    settings = speech_settings(config)
    with torch.device("meta"):
        num_weights = sum(
            parameter.numel() for parameter in ENCODERS[config.kind].build_empty(config).parameters()
        )
    return EncoderShape(
        num_weights, settings.hidden_size, settings.intermediate_size, settings.num_hidden_layers
    )


ENCODER_SHAPES: dict[str, Callable[[EncoderConfig], EncoderShape]] = {
    "whisper": _whisper_shape,
    "transformers": _speech_shape,
}
"""Encoder kind -> function that computes its size; every kind of ``ENCODERS`` has a row."""


def num_projector_weights(config: ProjectorConfig, encoder_width: int, width: int) -> int:
    """Weights of a projector, by arithmetic.

    Building one on the meta device costs a second: its initialization there imports torch's compiler.
    """
    if config.kind == "linear":
        layers = [(encoder_width, width)]
    else:
        inner = config.width or width
        num_stacked = config.factor if config.kind == "stacked" else 1
        layers = [(encoder_width * num_stacked, inner), (inner, width)]
    return sum((num_in + 1) * num_out for num_in, num_out in layers)


def num_language_model_weights(settings: PretrainedConfig, *, trust_remote_code: bool = False) -> int:
    """Number of weights of a language model: computed for Qwen2, counted on the ``meta`` device for others.

    Raises:
        RecipeError: the settings are invalid, or packed sequences are not possible with the architecture.
    """
    if settings.model_type == "qwen2":
        return _num_qwen2_weights(settings)
    from audio_lm.model.decoder.language_model import empty_language_model  # imports modeling code

    with torch.device("meta"):
        model = empty_language_model(settings, trust_remote_code=trust_remote_code)
    return sum(parameter.numel() for parameter in model.parameters())


def _num_qwen2_weights(settings: PretrainedConfig) -> int:
    width, inner = int(settings.hidden_size), int(settings.intermediate_size)
    head_width = int(getattr(settings, "head_dim", None) or width // settings.num_attention_heads)
    queries, keys = (
        head_width * int(count) for count in (settings.num_attention_heads, settings.num_key_value_heads)
    )
    attention = 2 * width * (queries + keys) + queries + 2 * keys  # biases on all projections but the output
    layer = attention + 3 * width * inner + 2 * width
    tables = (1 if settings.tie_word_embeddings else 2) * int(settings.vocab_size) * width
    return int(settings.num_hidden_layers) * layer + width + tables
