"""Build a model on the meta device and initialize it part by part, so that no rank holds all weights at once.

The model on ``meta`` is sharded over the ranks; then each rank fills its shards. Files are memory-mapped, and
only the needed slices are read. For a randomly initialized part, every rank draws the full part with the
random numbers of ``build_model``, copies its shards and frees the part before the next one. The weights are
therefore identical to those of ``build_model``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from audio_lm.common import compat
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.build import new_rows
from audio_lm.model.config import LanguageModelConfig, ModelConfig
from audio_lm.model.decoder.language_model import (
    check_rows,
    embedding_std,
    empty_language_model,
    input_table,
    mean_output_row,
    new_language_model,
)
from audio_lm.model.decoder.new_tokens import NewTokens
from audio_lm.model.decoder.settings import published_settings
from audio_lm.model.encoders.registry import ENCODERS
from audio_lm.model.lora import add_lora, apply_adapter, init_updates
from audio_lm.model.projector import new_projector
from audio_lm.model.resolve_sizes import resolve_sizes
from audio_lm.model.weights.adapter import read_adapter
from audio_lm.model.weights.files import published_folder, read_weights
from audio_lm.model.weights.part_names import SUFFIX
from audio_lm.model.weights.parts import fill_parts, updates_of, weights_of
from audio_lm.model.weights.released import open_released, released_weights
from audio_lm.model.weights.tied import without_copies

Weights = Mapping[str, Tensor]


def build_on_meta(config: ModelConfig, *, num_base: int | None, num_new: int) -> AudioLM:
    """Build the model with parameters on the ``meta`` device; buffers have their values.

    Args:
        num_base: vocabulary size of the language model; see ``build_model``.
        num_new: number of new tokens.

    Raises:
        RecipeError: the settings are invalid for the architecture, or differ from those of the folder to load.
        CheckpointError: weights to load are missing.
    """
    config = resolve_sizes(config)
    language_model = _meta_language_model(config, num_base)
    width = input_table(language_model).embedding_dim
    encoder = ENCODERS[config.encoder.kind].build(config.encoder)
    projector = new_projector(config.projector, encoder.width, width, scale=1.0)
    model = AudioLM(encoder, projector, language_model, NewTokens(num_new, width))
    for part, settings in config.lora.items():
        add_lora(getattr(model, part), settings)
    _move_to_meta(model)
    return model


def init_weights(
    model: AudioLM, config: ModelConfig, *, num_base: int | None, num_new: int, ordered_rows: range = range(0)
) -> None:
    """Fill this rank's shards with the initial weights of ``build_model``.

    Random numbers come from torch's global generator, which must have the same state on all ranks.

    Args:
        ordered_rows: see ``build_model``.

    Raises:
        CheckpointError: weights to load do not fit.
    """
    config = resolve_sizes(config)
    for part, weights in _initial_weights(config, num_base, num_new, ordered_rows):
        fill_parts({part: weights_of(getattr(model, part))}, {part: weights}, source=f"part {part!r}")
    for part, settings in config.lora.items():
        wanted = updates_of(getattr(model, part))
        fill_parts(
            {part + SUFFIX: wanted},
            {part + SUFFIX: init_updates(wanted, settings)},
            source=f"updates of {part!r}",
        )
    if config.adapter is not None:
        apply_adapter(model, read_adapter(config.adapter), config.lora)


def _initial_weights(
    config: ModelConfig, num_base: int | None, num_new: int, ordered_rows: range
) -> Iterator[tuple[str, Weights]]:
    """Yield (part, initial weights) in the order in which ``build_model`` draws random numbers."""
    blank = _meta_language_model(config, num_base)
    width = input_table(blank).embedding_dim
    if config.load is not None:
        weights_of_part = released_weights(open_released(config.load))
        words = weights_of_part["language_model"] = without_copies(
            blank, weights_of_part.get("language_model", {}), source=config.load
        )
        encoder = ENCODERS[config.encoder.kind].build(config.encoder)
        # Not used: it advances the random number generator as `build_model` does.
        new_projector(config.projector, encoder.width, width, scale=1.0)
        yield from weights_of_part.items()
        rows = new_rows(num_new, width, embedding_std(blank, words), ordered_rows)
        yield "new_tokens", _new_tokens(rows, mean_output_row(blank, words))
        return
    weights = _language_model_weights(config.language_model, num_base)
    if config.language_model.load is not None:
        weights = without_copies(blank, weights, source=config.language_model.load)
    scale = embedding_std(blank, weights)
    yield "language_model", weights
    output = None if config.language_model.load is None else mean_output_row(blank, weights)
    del weights
    rows = new_rows(num_new, width, scale, ordered_rows)
    encoder = ENCODERS[config.encoder.kind].build(config.encoder)
    yield "encoder", weights_of(encoder)
    yield "projector", weights_of(new_projector(config.projector, encoder.width, width, scale=scale))
    yield "new_tokens", _new_tokens(rows, output)


def _new_tokens(rows_VD: Tensor, output_D: Tensor | None) -> Weights:
    return weights_of(NewTokens(*rows_VD.shape, initial_VD=rows_VD, output_D=output_D))


def _language_model_weights(config: LanguageModelConfig, num_base: int | None) -> Weights:
    if config.load is None:
        assert num_base is not None, "checked in _meta_language_model"
        return weights_of(new_language_model(config.architecture, config.settings, num_base=num_base))
    return read_weights(published_folder(config.load, what="language model"))


def _meta_language_model(config: ModelConfig, num_base: int | None) -> PreTrainedModel:
    """Build the language model with parameters on ``meta``."""
    with parameters_on_meta():
        if config.load is not None:
            released = open_released(config.load)
            check_rows(released.num_rows, num_base, source=released.source)
            text = released_weights(released).get("language_model", {})
            return empty_language_model(released.text, text, source=released.source)
        settings = config.language_model
        if settings.load is not None:
            trust = config.trust_remote_code
            model = empty_language_model(
                published_settings(settings.load, trust_remote_code=trust),
                _language_model_weights(settings, None),
                source=settings.load,
                trust_remote_code=trust,
            )
            check_rows(input_table(model).num_embeddings, num_base, source=settings.load)
            return model
        if num_base is None:
            raise ValueError(
                "num_base is None; a randomly initialized language model needs the size of its tokenizer"
            )
        return new_language_model(settings.architecture, settings.settings, num_base=num_base)


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Create the parameters of new modules on the ``meta`` device; buffers keep their values.

    Unlike ``torch.device("meta")``, which would put buffers such as rotary frequencies there as well.
    """
    register = nn.Module.register_parameter

    def on_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        register(module, name, parameter)
        if parameter is not None and not parameter.is_meta:
            compat.own_parameters(module)[name] = _meta_parameter(parameter)

    nn.Module.register_parameter = on_meta  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def _move_to_meta(model: nn.Module) -> None:
    """Move all parameters to ``meta``, in place; tied parameters stay tied."""
    moved: dict[Any, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in compat.own_parameters(module).items():
            if parameter is not None:
                compat.own_parameters(module)[name] = moved.setdefault(parameter, _meta_parameter(parameter))


def _meta_parameter(parameter: nn.Parameter) -> nn.Parameter:
    if parameter.is_meta:
        return parameter
    return nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
