"""A model's settings completed by what ``config.json`` of its published parts says.

A recipe need not repeat what a model to load says of itself. What it does repeat has to agree: plans and
memory follow from it, and attention heads change no shape, so that nothing else would notice.
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
from audio_lm.model.weights.files import CONFIG, config_folder, read_config, some_of
from audio_lm.model.weights.released import Released, open_released
from audio_lm.model.weights.whisper_config import encoder_sizes

PLANNED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
"""Settings of a language model that memory is computed from."""


def resolved(config: ModelConfig, *, is_planned: bool = False) -> ModelConfig:
    """The settings with every size known: as given, as ``config.json`` says, or the default.

    Args:
        is_planned: nothing is built yet, so that a hub name is not asked where the recipe says all that a plan needs.

    Raises:
        RecipeError: a setting is not what ``config.json`` says; names both values.
        CheckpointError: ``config.json`` is not there or describes something else.
    """
    if config.load is None:
        _check_language_model(config, is_planned=is_planned)
        return replace(config, encoder=resolved_encoder(config.encoder, is_planned=is_planned))
    is_known = _has_sizes(config.encoder) and _has_settings(config.language_model)
    if is_planned and is_known and not Path(config.load).exists():
        return config
    released = open_released(config.load)
    _check_whole(config, released)
    return replace(config, encoder=config.encoder.completed(released.encoder))


def resolved_encoder(config: EncoderConfig, *, is_planned: bool = False) -> EncoderConfig:
    """The same for an encoder alone; see ``resolved``."""
    if config.load is None:
        return config.completed(EncoderSizes())
    if is_planned and _has_sizes(config) and not Path(config.load).exists():
        return config
    if config.kind == "transformers":
        theirs = published_speech_settings(config.load)
        _refuse(_differing("encoder", config, theirs, EncoderConfig.architecture), config.load)
        return config.completed(EncoderSizes())
    folder = config_folder(config.load, what="encoder")
    content = read_config(folder)
    if content is None:
        _check_all_given(config, config.load)
        return config
    sizes = encoder_sizes(content, path=folder / CONFIG)
    _refuse(_differing_sizes(config, sizes), config.load)
    return config.completed(sizes)


def text_settings(config: ModelConfig, *, num_base: int | None = None) -> PretrainedConfig:
    """The configuration of the language model; a hub name is not asked where the recipe says enough to plan with.

    Args:
        num_base: rows of a language model that is built from nothing.

    Raises:
        RecipeError: the settings make none.
        CheckpointError: there is no such model.
    """
    one, loaded = config.language_model, config.load or config.language_model.load
    if loaded is None or (_has_settings(one) and not Path(loaded).exists()):
        return new_settings(one.architecture, one.settings, num_base=num_base if loaded is None else None)
    if config.load is not None:
        return open_released(config.load).text
    theirs = published_settings(loaded, trust_remote_code=config.trust_remote_code)
    return theirs.get_text_config()


def planned_rows(config: ModelConfig) -> int:
    """Rows of the language model's tables as a plan knows them: of what is loaded, or the trained tokenizer's at most."""
    one = config.language_model
    if (config.load or one.load) is None:
        return int(one.settings.get("vocab_size", config.tokenizer.vocab_size))
    return int(text_settings(config).vocab_size)


def _check_language_model(config: ModelConfig, *, is_planned: bool) -> None:
    one = config.language_model
    default = LanguageModelConfig.architecture
    if one.load is None or (not one.settings and one.architecture == default):
        return
    if is_planned and (config.trust_remote_code or not Path(one.load).exists()):
        return
    theirs = published_settings(one.load, trust_remote_code=config.trust_remote_code)
    _refuse(_differing("language_model", one, theirs.get_text_config(), default), one.load)


def _check_whole(config: ModelConfig, released: Released) -> None:
    differing = []
    if config.encoder.kind != "whisper":
        differing.append(f"encoder.kind is {config.encoder.kind} and there whisper")
    differing += _differing_sizes(config.encoder, released.encoder)
    if config.projector != ProjectorConfig():
        differing.append(f"projector.kind is {config.projector.kind} and there linear")
    differing += _differing("language_model", config.language_model, released.text)
    _refuse(differing, released.source)


def _differing_sizes(config: EncoderConfig, sizes: EncoderSizes) -> list[str]:
    there = asdict(sizes)
    return [
        f"encoder.{name} is {value} and there {there[name]}"
        for name, value in config.given_sizes.items()
        if value != there[name]
    ]


def _differing(
    part: str,
    config: EncoderConfig | LanguageModelConfig,
    theirs: PretrainedConfig,
    default: str | None = None,
) -> list[str]:
    """What a part's settings say otherwise than its configuration.

    Args:
        default: architecture that a recipe need not have named.
    """
    differing = []
    if config.architecture not in (default, theirs.model_type):
        differing.append(f"{part}.architecture is {config.architecture} and there {theirs.model_type}")
    return differing + [
        f"{part}.settings.{name} is {value} and there {_of(theirs, name)}"
        for name, value in config.settings.items()
        if not _agree(value, _of(theirs, name))
    ]


def _of(theirs: PretrainedConfig, name: str) -> Any:
    """A field of a configuration; rotary positions also under their older names."""
    rope = getattr(theirs, "rope_parameters", None)
    if isinstance(rope, Mapping) and name == "rope_theta":
        return rope.get(name)
    if isinstance(rope, Mapping) and name == "rope_scaling":
        return None if rope.get("rope_type", "default") == "default" else rope
    return getattr(theirs, name, None)


def _agree(given: Any, there: Any) -> bool:
    if isinstance(given, Mapping) and isinstance(there, Mapping):
        return all(_agree(value, there.get(name)) for name, value in given.items())
    return bool(given == there)


def _refuse(differing: list[str], source: str) -> None:
    if differing:
        raise RecipeError(
            f"the recipe's model is not the one in {source!r}: {some_of(differing)}; take these settings out, for "
            f"{CONFIG} says them (`_replace_: true` beside load takes out all that a piece of conf/ brings), or correct them"
        )


def _check_all_given(config: EncoderConfig, source: str) -> None:
    missing = [f"encoder.{name}" for name in SIZES if name not in config.given_sizes]
    if missing:
        raise CheckpointError(
            f"encoder {source!r} has no {CONFIG} that would say {', '.join(missing)}; copy it from where the weights come "
            f"from, or set them in the recipe (num_heads changes no shape, so that a wrong one cannot be found)"
        )


def _has_sizes(config: EncoderConfig) -> bool:
    return len(config.given_sizes) == len(SIZES)


def _has_settings(config: LanguageModelConfig) -> bool:
    return all(name in config.settings for name in PLANNED)
