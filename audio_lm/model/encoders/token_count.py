"""Number of audio tokens of a clip, computed from the model's settings."""

from collections.abc import Callable

from audio_lm.common.audio_units import WHISPER, AudioTokenCount
from audio_lm.model.config import EncoderConfig, ModelConfig
from audio_lm.model.encoders.hf_settings import speech_settings, speech_token_count
from audio_lm.model.projector import projector_windows

TOKENS_OF: dict[str, Callable[[EncoderConfig], AudioTokenCount]] = {
    "whisper": lambda config: WHISPER,
    "transformers": lambda config: speech_token_count(speech_settings(config)),
}
"""Encoder kind -> function that gives its token count; every kind of ``ENCODERS`` has a row."""


def audio_token_count(config: ModelConfig) -> AudioTokenCount:
    """Number of audio tokens of a clip after encoder and projector; no model is built.

    Raises:
        CheckpointError: there is no encoder to load.
        RecipeError: the settings are invalid for the encoder.
    """
    return TOKENS_OF[config.encoder.kind](config.encoder).then(*projector_windows(config.projector))
