"""A model from what a recipe says about it."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.config import LanguageModelConfig, ModelConfig
from audio_lm.model.decoder.language_model import (
    check_rows,
    empty_language_model,
    load_language_model,
    mean_output_row,
    new_language_model,
    word_scale,
)
from audio_lm.model.decoder.new_tokens import NewTokens, smooth_rows
from audio_lm.model.encoders.registry import ENCODERS
from audio_lm.model.lora import add_lora
from audio_lm.model.projector import new_projector
from audio_lm.model.resolve_sizes import resolved
from audio_lm.model.weights.parts import fill_parts, weights_of
from audio_lm.model.weights.released import Released, open_released, released_weights


def build_model(
    config: ModelConfig, *, num_base: int | None, num_new: int, line: range = range(0)
) -> AudioLM:
    """Build every part; random numbers are torch's current ones.

    Audio and the input rows of new tokens start at the scale of the language model's words. Their output rows
    start there too beside a language model from nothing, and where they cannot win beside a loaded one.

    Args:
        num_base: rows of a language model that is built from nothing; of a loaded one it is only checked.
        num_new: tokens beyond those.
        line: new tokens that stand on a line and start alike, such as the time stamps; counted from 0.

    Raises:
        RecipeError: the settings make no language model or no encoder, or not those of the folder to load.
        CheckpointError: weights to load are missing or do not fit.
    """
    config = resolved(config)
    if config.load is None:
        model = _assembled(config, num_base, num_new, line)
    else:
        model = _released(config, open_released(config.load), num_base, num_new, line)
    for part, settings in config.lora.items():
        add_lora(getattr(model, part), settings)
    return model


def _assembled(config: ModelConfig, num_base: int | None, num_new: int, line: range) -> AudioLM:
    """Part by part, each loaded or from nothing."""
    language_model = _language_model(
        config.language_model, num_base, trust_remote_code=config.trust_remote_code
    )
    width, scale = language_model.get_input_embeddings().embedding_dim, word_scale(language_model)
    # In this order: equal seeds go on giving equal weights.
    rows = new_rows(num_new, width, scale, line)
    output = None if config.language_model.load is None else mean_output_row(language_model)
    encoder = ENCODERS[config.encoder.kind].build(config.encoder)
    return AudioLM(
        encoder,
        new_projector(config.projector, encoder.width, width, scale=scale),
        language_model,
        NewTokens(num_new, width, initial_VD=rows, output_D=output),
    )


def _released(
    config: ModelConfig, released: Released, num_base: int | None, num_new: int, line: range
) -> AudioLM:
    """A published model; only tokens it does not have start at random."""
    check_rows(released.num_rows, num_base, source=released.source)
    language_model = empty_language_model(released.text)
    width = language_model.get_input_embeddings().embedding_dim
    encoder = ENCODERS[config.encoder.kind].build(config.encoder)
    projector = new_projector(config.projector, encoder.width, width, scale=1.0)
    parts = {"encoder": encoder, "projector": projector, "language_model": language_model}
    wanted = {name: weights_of(part) for name, part in parts.items()}
    fill_parts(wanted, released_weights(released), source=released.source)
    rows = new_rows(num_new, width, word_scale(language_model), line)
    new_tokens = NewTokens(num_new, width, initial_VD=rows, output_D=mean_output_row(language_model))
    return AudioLM(encoder, projector, language_model, new_tokens)


def new_rows(num_new: int, width: int, scale: float, line: range) -> Tensor:
    """(V, D) what new tokens start from; see ``build_model``."""
    rows_VD = torch.randn(num_new, width) * scale
    rows_VD[line.start : line.stop] = smooth_rows(len(line), width, scale=scale)
    return rows_VD


def _language_model(
    config: LanguageModelConfig, num_base: int | None, *, trust_remote_code: bool
) -> PreTrainedModel:
    if config.load is None:
        if num_base is None:
            raise ValueError("a language model from nothing needs num_base, the size of its tokenizer")
        return new_language_model(config.architecture, config.settings, num_base=num_base)
    language_model = load_language_model(config.load, trust_remote_code=trust_remote_code)
    check_rows(language_model.get_input_embeddings().num_embeddings, num_base, source=config.load)
    return language_model
