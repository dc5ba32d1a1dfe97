"""Configurations of language models of ``transformers``, without modeling code, which takes seconds to import."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig, PretrainedConfig

from audio_lm.common.errors import CheckpointError, RecipeError, first_line, needs_remote_code, unknown


def new_settings(
    architecture: str, settings: Mapping[str, Any], *, num_base: int | None = None
) -> PretrainedConfig:
    """Build the configuration of an architecture.

    Args:
        architecture: a ``model_type``, such as ``qwen2``.
        settings: fields of its configuration.
        num_base: vocabulary size; None takes it from the settings.

    Raises:
        RecipeError: the architecture or one of its settings does not exist.
    """
    if architecture not in CONFIG_MAPPING:
        raise RecipeError(
            unknown("architecture", architecture, list(CONFIG_MAPPING), see="the models of transformers")
        )
    _check_settings(architecture, settings, num_base)
    rows = {} if num_base is None else {"vocab_size": num_base}
    with settings_errors(architecture):
        return AutoConfig.for_model(architecture, **{**settings, **rows})


@contextmanager
def settings_errors(architecture: str) -> Iterator[None]:
    """Turn errors of invalid settings into a ``RecipeError`` of one sentence."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, StrictDataclassError) as error:
        raise RecipeError(
            f"language_model.settings do not make a {architecture} ({first_line(error)}); see its "
            f"configuration in transformers"
        ) from error


def published_settings(folder_or_name: str, *, trust_remote_code: bool = False) -> PreTrainedConfig:
    """Read the configuration of a published model, without its weights.

    Args:
        trust_remote_code: run Python code from the model's repository.

    Raises:
        CheckpointError: there is no such model.
    """
    try:
        return AutoConfig.from_pretrained(folder_or_name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, StrictDataclassError) as error:
        raise language_model_error(folder_or_name, error) from error


def num_rows(folder_or_name: str, *, trust_remote_code: bool = False) -> int:
    """Vocabulary size of a published model, without loading its weights.

    Raises:
        CheckpointError: there is no such model.
    """
    settings = published_settings(folder_or_name, trust_remote_code=trust_remote_code)
    return int(settings.get_text_config().vocab_size)


def _check_settings(architecture: str, settings: Mapping[str, Any], num_base: int | None) -> None:
    blank = CONFIG_MAPPING[architecture]()
    known = [*blank.to_dict(), *blank.attribute_map, "layer_types"]
    unknown_names = [name for name in settings if name not in known]
    if unknown_names:
        raise RecipeError(
            unknown(f"setting of {architecture}", unknown_names[0], known, see="language_model.settings")
        )
    if num_base is not None and settings.get("vocab_size", num_base) != num_base:
        raise RecipeError(
            f"language_model.settings.vocab_size is {settings['vocab_size']}, the tokenizer has {num_base} "
            f"tokens; remove the setting"
        )


def language_model_error(folder_or_name: str, error: Exception) -> CheckpointError:
    """Error for a language model that transformers cannot load."""
    if "trust_remote_code" in str(error):
        return CheckpointError(needs_remote_code("language model", folder_or_name))
    return CheckpointError(
        f"language model {folder_or_name!r} cannot be loaded ({first_line(error)}); give a folder or hub name "
        f"of a causal language model that transformers knows"
    )
