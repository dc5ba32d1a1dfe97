"""How many audio tokens a model makes of a clip, from its settings alone."""

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
"""Kind of encoder -> its audio tokens; every kind of ``ENCODERS`` has a row."""


def audio_token_count(config: ModelConfig) -> AudioTokenCount:
    """How many audio tokens the model makes of a clip; nothing is built.

    Raises:
        CheckpointError: the encoder to load is not there.
        RecipeError: its settings make none.
    """
    return TOKENS_OF[config.encoder.kind](config.encoder).with_windows(*projector_windows(config.projector))
