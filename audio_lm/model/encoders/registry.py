"""The kinds of encoders a recipe can name.

A new kind is a file and a row each of ``ENCODERS``, ``token_count.TOKENS_OF`` and ``shapes.ENCODER_SHAPES``: the latter two
are asked by plans, which import no modelling code.
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
from audio_lm.model.resolve_sizes import resolved_encoder
from audio_lm.model.weights.convert import encoder_weights
from audio_lm.model.weights.files import published_folder, read_weights
from audio_lm.model.weights.parts import fill


@dataclass(frozen=True)
class EncoderKind:
    """What a recipe's encoder becomes."""

    build: Callable[[EncoderConfig], Encoder]
    blank: Callable[[EncoderConfig], Encoder]
    """The same with random weights, for who asks for its size."""


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


def _blank_speech(config: EncoderConfig) -> SpeechEncoder:
    return SpeechEncoder(AutoModel.from_config(speech_settings(config)), is_normalized=True)


ENCODERS = {
    "whisper": EncoderKind(_whisper, _blank_whisper),
    "transformers": EncoderKind(lambda config: new_speech_encoder(resolved_encoder(config)), _blank_speech),
}
"""Kind in a recipe -> what it becomes."""
