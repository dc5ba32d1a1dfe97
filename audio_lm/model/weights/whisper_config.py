"""Sizes of published Whisper encoders, from the ``config.json`` beside their weights.

Attention heads change no shape: weights alone do not tell them, and with other heads the same weights
compute something else. So do other settings; those that this project does not have are refused.

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
from audio_lm.model.weights.files import some_of

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
"""Our names and those of the three layouts; in the first two the feed-forward layers are four times as wide."""

WITH_AN_ENCODER = ("whisper", "qwen2_audio", "qwen2_audio_encoder")
EXPECTED = {"activation_function": "gelu", "max_source_positions": 1500}
EXPECTED_OF_OPENAI = {"n_audio_ctx": 1500}
EXPECTED_OF_QWEN_AUDIO = {"n_ctx": 1500, "avg_pool": True, "add_audio_bos_eos_token": True}
"""What is fixed here. Dropout is the recipe's; ``scale_embedding`` does nothing in an encoder."""

MOST_SAID = 200  # characters of another library's complaint


def encoder_sizes(config: Mapping[str, Any], *, path: Path) -> EncoderSizes:
    """Sizes of the encoder that a ``config.json`` describes, alone or inside of a whole model.

    Args:
        path: of the file, for messages.

    Raises:
        CheckpointError: there is no such encoder, or it computes what ours does not.
    """
    kind, audio = config.get("model_type"), config.get("audio")
    if OPENAI["width"] in config:
        return _sizes(config, OPENAI, EXPECTED_OF_OPENAI, path)
    if kind == "qwen" and isinstance(audio, Mapping):
        return _sizes(audio, QWEN_AUDIO, EXPECTED_OF_QWEN_AUDIO, path)
    if kind not in WITH_AN_ENCODER:
        raise CheckpointError(
            f"{path} describes a {kind!r} -- expected a Whisper, Qwen2-Audio or Qwen-Audio -- give the folder of one"
        )
    try:
        theirs = CONFIG_MAPPING[kind].from_dict(dict(config))
    except (OSError, ValueError, TypeError, StrictDataclassError) as error:
        said = " ".join(str(error).split())[:MOST_SAID]
        raise CheckpointError(
            f"{path} is no configuration of a {kind} ({said}); copy it from where the weights come from"
        ) from error
    return _sizes(getattr(theirs, "audio_config", theirs).to_dict(), TRANSFORMERS, EXPECTED, path)


def unexpected(config: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Settings that are not what this project computes with."""
    return [
        f"{name} is {config.get(name)} and not {value}"
        for name, value in expected.items()
        if config.get(name) != value
    ]


def _sizes(
    config: Mapping[str, Any], names: Mapping[str, str], expected: Mapping[str, Any], path: Path
) -> EncoderSizes:
    found = {ours: config.get(theirs) for ours, theirs in names.items()}
    wrong = [f"{names[ours]} is {value!r}" for ours, value in found.items() if not _is_size(value)]
    if wrong:
        raise CheckpointError(
            f"{path}: {some_of(wrong)} -- expected a whole number over 0 -- copy the file from where the weights come from"
        )
    if strange := unexpected(config, expected):
        raise CheckpointError(
            f"{path}: {some_of(strange)}, which would compute something else than here -- give an encoder of the released kind"
        )
    sizes = {ours: int(value) for ours, value in found.items() if value is not None}
    return EncoderSizes(**({"mlp_width": 4 * sizes["width"]} | sizes))


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
