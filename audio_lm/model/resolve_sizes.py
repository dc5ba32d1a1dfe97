"""Complete a recipe's model settings from the ``config.json`` of the models it loads.

A recipe need not repeat the sizes of a model to load. A size that it does repeat must be equal, because plans
and memory estimates use it. No other check would find a wrong number of attention heads: it changes no shape.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from audio_lm.common.errors import CheckpointError, RecipeError
from audio_lm.model.config import (
    SIZES,
    EncoderConfig,
    EncoderSizes,
    LanguageModelConfig,
    ModelConfig,
    ProjectorConfig,
)
from audio_lm.model.decoder.settings import new_settings, published_settings
from audio_lm.model.encoders.hf_settings import published_speech_settings
from audio_lm.model.weights.files import CONFIG, config_folder, first_few, read_config
from audio_lm.model.weights.released import Released, open_released
from audio_lm.model.weights.whisper_config import encoder_sizes

PLANNED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
"""Settings of a language model that the memory estimate needs."""


def resolve_sizes(config: ModelConfig, *, is_planned: bool = False) -> ModelConfig:
    """Settings with every size filled in: from the recipe, from ``config.json``, or the default.

    Args:
        is_planned: only a plan is made, no model; the hub is then not queried if the recipe has all needed sizes.

    Raises:
        RecipeError: a setting differs from ``config.json``; the message has both values.
        CheckpointError: ``config.json`` is missing or describes another kind of model.
    """
    if config.load is None:
        _check_language_model(config, is_planned=is_planned)
        return replace(config, encoder=resolve_encoder_sizes(config.encoder, is_planned=is_planned))
    is_known = _has_sizes(config.encoder) and _has_settings(config.language_model)
    if is_planned and is_known and not Path(config.load).exists():
        return config
    released = open_released(config.load)
    _check_whole(config, released)
    return replace(config, encoder=config.encoder.fill_sizes(released.encoder))


def resolve_encoder_sizes(config: EncoderConfig, *, is_planned: bool = False) -> EncoderConfig:
    """Encoder settings with every size filled in; see ``resolve_sizes``."""
    if config.load is None:
        return config.fill_sizes(EncoderSizes())
    if is_planned and _has_sizes(config) and not Path(config.load).exists():
        return config
    if config.kind == "transformers":
        published = published_speech_settings(config.load)
        _refuse(_differing("encoder", config, published, EncoderConfig.architecture), config.load)
        return config.fill_sizes(EncoderSizes())
    folder = config_folder(config.load, what="encoder")
    content = read_config(folder)
    if content is None:
        _check_all_given(config, config.load)
        return config
    sizes = encoder_sizes(content, path=folder / CONFIG)
    _refuse(_differing_sizes(config, sizes), config.load)
    return config.fill_sizes(sizes)


def text_settings(config: ModelConfig, *, num_base: int | None = None) -> PretrainedConfig:
    """Configuration of the language model; the hub is not queried if the recipe has all sizes that a plan needs.

    Args:
        num_base: vocabulary size of a randomly initialized language model.

    Raises:
        RecipeError: the settings are invalid for the architecture.
        CheckpointError: there is no such model.
    """
    text, source = config.language_model, config.load or config.language_model.load
    if source is None or (_has_settings(text) and not Path(source).exists()):
        return new_settings(text.architecture, text.settings, num_base=num_base if source is None else None)
    if config.load is not None:
        return open_released(config.load).text
    return published_settings(source, trust_remote_code=config.trust_remote_code).get_text_config()


def planned_vocab_size(config: ModelConfig) -> int:
    """Vocabulary size of the language model for a plan; with a tokenizer that is yet to be trained, its upper limit."""
    text = config.language_model
    if (config.load or text.load) is None:
        return int(text.settings.get("vocab_size", config.tokenizer.vocab_size))
    return int(text_settings(config).vocab_size)


def _check_language_model(config: ModelConfig, *, is_planned: bool) -> None:
    text = config.language_model
    default = LanguageModelConfig.architecture
    if text.load is None or (not text.settings and text.architecture == default):
        return
    if is_planned and (config.trust_remote_code or not Path(text.load).exists()):
        return
    published = published_settings(text.load, trust_remote_code=config.trust_remote_code)
    _refuse(_differing("language_model", text, published.get_text_config(), default), text.load)


def _check_whole(config: ModelConfig, released: Released) -> None:
    differing = []
    if config.encoder.kind != "whisper":
        differing.append(f"encoder.kind is {config.encoder.kind}, expected whisper")
    differing += _differing_sizes(config.encoder, released.encoder)
    if config.projector != ProjectorConfig():
        differing.append(f"projector.kind is {config.projector.kind}, expected linear")
    differing += _differing("language_model", config.language_model, released.text)
    _refuse(differing, released.source)


def _differing_sizes(config: EncoderConfig, sizes: EncoderSizes) -> list[str]:
    expected = asdict(sizes)
    return [
        f"encoder.{name} is {value}, expected {expected[name]}"
        for name, value in config.given_sizes.items()
        if value != expected[name]
    ]


def _differing(
    part: str,
    config: EncoderConfig | LanguageModelConfig,
    published: PretrainedConfig,
    default: str | None = None,
) -> list[str]:
    """Differences between a part's settings in the recipe and its published configuration.

    Args:
        default: the recipe's default architecture, which is not compared.
    """
    differing = []
    if config.architecture not in (default, published.model_type):
        differing.append(f"{part}.architecture is {config.architecture}, expected {published.model_type}")
    return differing + [
        f"{part}.settings.{name} is {value}, expected {_field(published, name)}"
        for name, value in config.settings.items()
        if not _equal(value, _field(published, name))
    ]


def _field(published: PretrainedConfig, name: str) -> Any:
    """Value of a field; fields of rotary positions are also found under their names of transformers 4."""
    rope = getattr(published, "rope_parameters", None)
    if isinstance(rope, Mapping) and name == "rope_theta":
        return rope.get(name)
    if isinstance(rope, Mapping) and name == "rope_scaling":
        return None if rope.get("rope_type", "default") == "default" else rope
    return getattr(published, name, None)


def _equal(given: Any, expected: Any) -> bool:
    """Compare values; of two mappings only the given keys."""
    if isinstance(given, Mapping) and isinstance(expected, Mapping):
        return all(_equal(value, expected.get(name)) for name, value in given.items())
    return bool(given == expected)


def _refuse(differing: list[str], source: str) -> None:
    if differing:
        raise RecipeError(
            f"the recipe's model differs from the one in {source!r}: {first_few(differing)}; remove these settings, which "
            f"are read from {CONFIG} (`_replace_: true` beside load removes all settings from conf/), or correct them"
        )


def _check_all_given(config: EncoderConfig, source: str) -> None:
    missing = [f"encoder.{name}" for name in SIZES if name not in config.given_sizes]
    if missing:
        raise CheckpointError(
            f"encoder {source!r} has no {CONFIG}, from which {', '.join(missing)} would be read; copy it from the source "
            f"of the weights, or set the sizes in the recipe (a wrong num_heads changes no shape and cannot be detected)"
        )


def _has_sizes(config: EncoderConfig) -> bool:
    return len(config.given_sizes) == len(SIZES)


def _has_settings(config: LanguageModelConfig) -> bool:
    return all(name in config.settings for name in PLANNED)
