"""The kinds of encoders a recipe can name, and how many audio tokens a model makes of a clip.

A new kind is a file and a row of ``ENCODERS``.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from transformers import AutoModel

from audio_lm.errors import RecipeError
from audio_lm.model.checkpoint import fill
from audio_lm.model.config import EncoderConfig, ModelConfig
from audio_lm.model.convert import encoder_weights
from audio_lm.model.encoder import AudioEncoder
from audio_lm.model.projector import projector_windows
from audio_lm.model.protocols import Encoder
from audio_lm.model.sizes import resolved_encoder
from audio_lm.model.speech_encoder import (
    SpeechEncoder,
    new_speech_encoder,
    speech_hearing,
    speech_settings,
)
from audio_lm.model.weight_files import published_folder, read_weights
from audio_lm.units import WHISPER, Hearing


@dataclass(frozen=True)
class EncoderShape:
    """How large an encoder is."""

    num_weights: int
    width: int
    mlp_width: int
    num_layers: int


@dataclass(frozen=True)
class EncoderKind:
    """What a recipe's encoder becomes."""

    build: Callable[[EncoderConfig], Encoder]
    blank: Callable[[EncoderConfig], Encoder]
    """The same with random weights, for who asks for its size."""

    hearing: Callable[[EncoderConfig], Hearing]
    shape: Callable[[EncoderConfig], EncoderShape]


def hearing_of(config: ModelConfig) -> Hearing:
    """How many audio tokens the model makes of a clip; nothing is built.

    Raises:
        CheckpointError: the encoder to load is not there.
        RecipeError: its settings make none.
    """
    return ENCODERS[config.encoder.kind].hearing(config.encoder).then(*projector_windows(config.projector))


def _whisper(config: EncoderConfig) -> AudioEncoder:
    config = resolved_encoder(config)
    encoder = _blank_whisper(config)
    if config.load is not None:
        weights = read_weights(published_folder(config.load, what="encoder"))
        fill(encoder, encoder_weights(weights, source=config.load), source=config.load)
    return encoder


def _blank_whisper(config: EncoderConfig) -> AudioEncoder:
    sizes = resolved_encoder(config, is_planned=True).sizes
    if sizes.width % 2 or sizes.width % sizes.num_heads:
        raise RecipeError(
            f"encoder.width is {sizes.width} and encoder.num_heads {sizes.num_heads} -- expected an even width that the "
            f"heads divide -- correct one of them"
        )
    return AudioEncoder(**asdict(sizes), dropout=config.dropout)


def _whisper_shape(config: EncoderConfig) -> EncoderShape:
    sizes = resolved_encoder(config, is_planned=True).sizes
    width, inner = sizes.width, sizes.mlp_width
    convolutions = 3 * width * (sizes.num_mels + width) + 2 * width
    attention = 4 * width * width + 3 * width  # keys have no bias
    layer = attention + 2 * width * inner + inner + width + 4 * width
    num_weights = convolutions + sizes.num_layers * layer + 2 * width
    return EncoderShape(num_weights, width, inner, sizes.num_layers)


def _blank_speech(config: EncoderConfig) -> SpeechEncoder:
    return SpeechEncoder(AutoModel.from_config(speech_settings(config)), is_normalized=True)


def _speech_shape(config: EncoderConfig) -> EncoderShape:
    settings = speech_settings(config)
    with torch.device("meta"):
        num_weights = sum(parameter.numel() for parameter in _blank_speech(config).parameters())
    return EncoderShape(
        num_weights, settings.hidden_size, settings.intermediate_size, settings.num_hidden_layers
    )


ENCODERS = {
    "whisper": EncoderKind(_whisper, _blank_whisper, lambda config: WHISPER, _whisper_shape),
    "transformers": EncoderKind(
        lambda config: new_speech_encoder(resolved_encoder(config)),
        _blank_speech,
        lambda config: speech_hearing(speech_settings(config)),
        _speech_shape,
    ),
}
"""Kind in a recipe -> what it becomes."""
