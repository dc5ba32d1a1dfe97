"""Configurations of speech encoders of ``transformers`` and their number of frames, without modeling code."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig

from audio_lm.common.audio_units import AudioTokenCount, Window
from audio_lm.common.errors import CheckpointError, RecipeError, unknown
from audio_lm.model.config import EncoderConfig

WAVES, FILTER_BANK = "waves", "filter bank"
ARCHITECTURES = {
    "wav2vec2": WAVES,
    "hubert": WAVES,
    "wavlm": WAVES,
    "unispeech": WAVES,
    "unispeech-sat": WAVES,
    "wav2vec2-bert": FILTER_BANK,
}
"""``model_type`` -> its input. To add one, add a row, provided that masked padding does not change its output."""

DISABLED = {"apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0, "layerdrop": 0.0}
"""Settings that would mask clips at random or skip layers, which then have no gradient."""

DROPOUTS = (
    "hidden_dropout",
    "attention_dropout",
    "activation_dropout",
    "feat_proj_dropout",
    "conformer_conv_dropout",
)
FRAME, HOP = 400, 160  # samples; window and hop of the filter bank


def speech_settings(config: EncoderConfig) -> PretrainedConfig:
    """The library's configuration of an encoder, with all randomness but the recipe's dropout disabled.

    Raises:
        CheckpointError: there is no such model.
        RecipeError: the architecture is not in ``ARCHITECTURES``, one of its settings does not exist, or the output
            of a clip would depend on other clips of the batch.
    """
    if config.load is None:
        _check_known(config.architecture, config.settings)
        try:
            settings = AutoConfig.for_model(config.architecture, **config.settings)
        except (ValueError, TypeError, AttributeError, StrictDataclassError) as error:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise RecipeError(
                f"encoder.settings do not make a {config.architecture} ({first}); see its configuration in transformers"
            ) from error
    else:
        settings = published_speech_settings(config.load)
    if getattr(settings, "add_adapter", False) or getattr(settings, "conv_pos_batch_norm", False):
        raise RecipeError(
            f"encoder {config.load or config.architecture!r} has an adapter or a batch norm, with which the output of a "
            f"clip depends on the other clips of the batch; set add_adapter and conv_pos_batch_norm to false"
        )
    wanted = DISABLED | dict.fromkeys(DROPOUTS, config.dropout)
    for name in (name for name in wanted if hasattr(settings, name)):
        setattr(settings, name, wanted[name])
    return settings


def published_speech_settings(folder_or_name: str) -> PretrainedConfig:
    """Configuration of a published encoder, unchanged.

    Raises:
        CheckpointError: there is no such model.
        RecipeError: the architecture is not in ``ARCHITECTURES``.
    """
    try:
        settings = AutoConfig.from_pretrained(folder_or_name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise speech_encoder_error(folder_or_name, error) from error
    _check_known(settings.model_type, {})
    return settings


def speech_token_count(settings: PretrainedConfig) -> AudioTokenCount:
    """Windows that lead from the samples of a clip to its frames."""
    if ARCHITECTURES[settings.model_type] == FILTER_BANK:
        return AudioTokenCount((Window(FRAME, HOP), Window(2, 2)))
    pairs = zip(settings.conv_kernel, settings.conv_stride, strict=True)
    return AudioTokenCount(tuple(Window(length, hop) for length, hop in pairs))


def _check_known(architecture: str, settings: Mapping[str, Any]) -> None:
    if architecture not in ARCHITECTURES:
        raise RecipeError(
            unknown(
                "speech encoder", architecture, ARCHITECTURES, see="audio_lm/model/encoders/hf_settings.py"
            )
        )
    known = CONFIG_MAPPING[architecture]().to_dict()
    if unknown_names := [name for name in settings if name not in known]:
        raise RecipeError(
            unknown(f"setting of {architecture}", unknown_names[0], known, see="encoder.settings")
        )


def speech_encoder_error(folder_or_name: str, error: Exception) -> CheckpointError:
    """Error for an encoder that transformers cannot load."""
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return CheckpointError(
        f"encoder {folder_or_name!r} cannot be loaded ({first}); give a folder or hub name of a speech encoder with "
        f"config.json, preprocessor_config.json and safetensors files"
    )
