"""Number of audio tokens of a clip, computed from the model's settings."""

from collections.abc import Callable

from audio_lm.common.audio_units import WHISPER, AudioTokenCount
from audio_lm.model.config import EncoderConfig, ModelConfig
from audio_lm.model.projector import projector_windows


def _speech_tokens(config: EncoderConfig) -> AudioTokenCount:
    # Imports transformers, which takes a second, and the other kind needs none of it.
    from audio_lm.model.encoders.hf_settings import speech_settings, speech_token_count

    return speech_token_count(speech_settings(config))


TOKENS_OF: dict[str, Callable[[EncoderConfig], AudioTokenCount]] = {
    "whisper": lambda config: WHISPER,
    "transformers": _speech_tokens,
}
"""Encoder kind -> function that gives its token count; every kind of ``ENCODERS`` has a row."""


def audio_token_count(config: ModelConfig) -> AudioTokenCount:
    """Number of audio tokens of a clip after encoder and projector; no model is built.

    Raises:
        CheckpointError: there is no encoder to load.
        RecipeError: the settings are invalid for the encoder.
    """
    return TOKENS_OF[config.encoder.kind](config.encoder).with_windows(*projector_windows(config.projector))
