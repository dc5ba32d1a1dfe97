"""Registry of the encoder kinds of a recipe.

A new kind is a file and one row each in ``ENCODERS``, ``token_count.TOKENS_OF`` and ``shapes.ENCODER_SHAPES``. The last
two are separate because plans use them and must not import modeling code.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from transformers import AutoModel

from audio_lm.common.errors import RecipeError
from audio_lm.model.base import Encoder
from audio_lm.model.config import EncoderConfig
from audio_lm.model.encoders.hf_encoder import SpeechEncoder, new_speech_encoder
from audio_lm.model.encoders.hf_settings import speech_settings
from audio_lm.model.encoders.whisper import AudioEncoder
from audio_lm.model.resolve_sizes import resolve_encoder_sizes
from audio_lm.model.weights.convert import encoder_weights
from audio_lm.model.weights.files import published_folder, read_weights
from audio_lm.model.weights.parts import fill


@dataclass(frozen=True)
class EncoderKind:
    """Functions that build an encoder of one kind."""

    build: Callable[[EncoderConfig], Encoder]
    """Load the weights that the config names, or initialize them randomly."""

    build_empty: Callable[[EncoderConfig], Encoder]
    """Build the architecture without loading weights, to count them."""


def _whisper(config: EncoderConfig) -> AudioEncoder:
    config = resolve_encoder_sizes(config)
    encoder = _blank_whisper(config)
    if config.load is not None:
        weights = read_weights(published_folder(config.load, what="encoder"))
        fill(encoder, encoder_weights(weights, source=config.load), source=config.load)
    return encoder


def _blank_whisper(config: EncoderConfig) -> AudioEncoder:
    sizes = resolve_encoder_sizes(config, is_planned=True).sizes
    if sizes.width % 2 or sizes.width % sizes.num_heads:
        raise RecipeError(
            f"encoder.width is {sizes.width} and encoder.num_heads {sizes.num_heads} -- expected an even width divisible "
            f"by num_heads -- correct one of them"
        )
    return AudioEncoder(**asdict(sizes), dropout=config.dropout)


def _blank_speech(config: EncoderConfig) -> SpeechEncoder:
    return SpeechEncoder(AutoModel.from_config(speech_settings(config)), is_normalized=True)


ENCODERS = {
    "whisper": EncoderKind(_whisper, _blank_whisper),
    "transformers": EncoderKind(
        lambda config: new_speech_encoder(resolve_encoder_sizes(config)), _blank_speech
    ),
}
"""Encoder kind in a recipe -> functions that build it."""
