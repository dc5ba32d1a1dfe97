"""Read the sizes of a published Whisper encoder from its ``config.json``.

The number of attention heads cannot be read from the weights: it changes no shape, but it changes the result. The
same is true for other settings; values that this project does not support are rejected.

Source: ``WhisperConfig`` and ``Qwen2AudioConfig`` of transformers; ``ModelDimensions`` of openai/whisper;
``config.json`` of Qwen-Audio.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING

from audio_lm.common.errors import CheckpointError
from audio_lm.model.config import EncoderSizes
from audio_lm.model.weights.files import first_few

OPENAI = {
    "num_mels": "n_mels",
    "width": "n_audio_state",
    "num_layers": "n_audio_layer",
    "num_heads": "n_audio_head",
}
QWEN_AUDIO = {"num_mels": "n_mels", "width": "n_state", "num_layers": "n_layer", "num_heads": "n_head"}
TRANSFORMERS = {
    "num_mels": "num_mel_bins",
    "width": "d_model",
    "num_layers": "encoder_layers",
    "num_heads": "encoder_attention_heads",
    "mlp_width": "encoder_ffn_dim",
}
"""Our names -> names in the three formats; in the first two the feed-forward width is 4 times the model width."""

MODEL_TYPES = ("whisper", "qwen2_audio", "qwen2_audio_encoder")
"""Configurations of transformers that contain a Whisper encoder."""

EXPECTED = {"activation_function": "gelu", "max_source_positions": 1500}
EXPECTED_OF_OPENAI = {"n_audio_ctx": 1500}
EXPECTED_OF_QWEN_AUDIO = {"n_ctx": 1500, "avg_pool": True, "add_audio_bos_eos_token": True}
"""Required values of other settings. Dropout comes from the recipe; ``scale_embedding`` has no effect in an encoder."""

MAX_ERROR_LENGTH = 200  # characters quoted from an error of another library


def encoder_sizes(config: Mapping[str, Any], *, path: Path) -> EncoderSizes:
    """Sizes of the encoder in a ``config.json``, which describes an encoder or a whole model.

    Args:
        path: path of the file, for messages.

    Raises:
        CheckpointError: the file describes no Whisper encoder, or a setting is not supported.
    """
    kind, audio = config.get("model_type"), config.get("audio")
    if OPENAI["width"] in config:
        return _sizes(config, OPENAI, EXPECTED_OF_OPENAI, path)
    if kind == "qwen" and isinstance(audio, Mapping):
        return _sizes(audio, QWEN_AUDIO, EXPECTED_OF_QWEN_AUDIO, path)
    if kind not in MODEL_TYPES:
        raise CheckpointError(
            f"{path} describes a {kind!r} -- expected a Whisper, Qwen2-Audio or Qwen-Audio -- give the folder of one"
        )
    try:
        published = CONFIG_MAPPING[kind].from_dict(dict(config))
    except (OSError, ValueError, TypeError, StrictDataclassError) as error:
        message = " ".join(str(error).split())[:MAX_ERROR_LENGTH]
        raise CheckpointError(
            f"{path} is no configuration of a {kind} ({message}); copy it from the source of the weights"
        ) from error
    return _sizes(getattr(published, "audio_config", published).to_dict(), TRANSFORMERS, EXPECTED, path)


def unsupported_settings(config: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Settings that differ from their required values, one message each."""
    return [
        f"{name} is {config.get(name)} and not {value}"
        for name, value in expected.items()
        if config.get(name) != value
    ]


def _sizes(
    config: Mapping[str, Any], names: Mapping[str, str], expected: Mapping[str, Any], path: Path
) -> EncoderSizes:
    values = {ours: config.get(theirs) for ours, theirs in names.items()}
    invalid = [f"{names[ours]} is {value!r}" for ours, value in values.items() if not _is_size(value)]
    if invalid:
        raise CheckpointError(
            f"{path}: {first_few(invalid)} -- expected an integer over 0 -- copy the file from the source of the weights"
        )
    if unsupported := unsupported_settings(config, expected):
        raise CheckpointError(
            f"{path}: {first_few(unsupported)}, which this encoder does not support -- give an encoder with the settings of "
            f"the released models"
        )
    sizes = {ours: int(value) for ours, value in values.items() if value is not None}
    return EncoderSizes(**({"mlp_width": 4 * sizes["width"]} | sizes))


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
