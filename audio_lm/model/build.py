"""Build the model that a recipe describes."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.config import LanguageModelConfig, ModelConfig
from audio_lm.model.decoder.language_model import (
    check_rows,
    embedding_std,
    empty_language_model,
    input_table,
    load_language_model,
    mean_output_row,
    new_language_model,
)
from audio_lm.model.decoder.new_tokens import NewTokens, smooth_rows
from audio_lm.model.encoders.registry import ENCODERS
from audio_lm.model.lora import add_lora, apply_adapter
from audio_lm.model.projector import new_projector
from audio_lm.model.resolve_sizes import resolve_sizes
from audio_lm.model.weights.adapter import read_adapter
from audio_lm.model.weights.parts import fill_parts, weights_of
from audio_lm.model.weights.released import Released, open_released, released_weights
from audio_lm.model.weights.tied import without_copies


def build_model(
    config: ModelConfig, *, num_base: int | None, num_new: int, ordered_rows: range = range(0)
) -> AudioLM:
    """Build every part; random numbers come from torch's global generator.

    Audio tokens and the input rows of new tokens start with the standard deviation of the word embeddings.
    Output rows of new tokens start like that too if the language model is randomly initialized. Beside a loaded
    language model they start as the mean of its output rows, so that no new token is generated before training.

    Args:
        num_base: vocabulary size of a randomly initialized language model; for a loaded one it is only checked.
        num_new: number of new tokens, added after the base vocabulary.
        ordered_rows: ordered new tokens whose neighbors start with similar rows, such as time stamps; counted from 0.

    Raises:
        RecipeError: the settings are invalid for the architecture, or differ from those of the folder to load.
        CheckpointError: weights to load are missing or do not fit.
    """
    config = resolve_sizes(config)
    if config.load is None:
        model = _assembled(config, num_base, num_new, ordered_rows)
    else:
        model = _released(config, open_released(config.load), num_base, num_new, ordered_rows)
    for part, settings in config.lora.items():
        add_lora(getattr(model, part), settings)
    if config.adapter is not None:
        apply_adapter(model, read_adapter(config.adapter), config.lora)
    return model


def _assembled(config: ModelConfig, num_base: int | None, num_new: int, ordered_rows: range) -> AudioLM:
    """Build each part separately, loaded or randomly initialized."""
    language_model = _language_model(
        config.language_model, num_base, trust_remote_code=config.trust_remote_code
    )
    width, scale = input_table(language_model).embedding_dim, embedding_std(language_model)
    # The order of these draws is fixed: the same seed must give the same weights in every release.
    rows = new_rows(num_new, width, scale, ordered_rows)
    output = None if config.language_model.load is None else mean_output_row(language_model)
    encoder = ENCODERS[config.encoder.kind].build(config.encoder)
    return AudioLM(
        encoder,
        new_projector(config.projector, encoder.width, width, scale=scale),
        language_model,
        NewTokens(num_new, width, initial_VD=rows, output_D=output),
    )


def _released(
    config: ModelConfig, released: Released, num_base: int | None, num_new: int, ordered_rows: range
) -> AudioLM:
    """Load a whole published model; only the rows of new tokens are randomly initialized."""
    check_rows(released.num_rows, num_base, source=released.source)
    weights = released_weights(released)
    text = weights.pop("language_model", {})
    language_model = empty_language_model(released.text, text, source=released.source)
    width = input_table(language_model).embedding_dim
    encoder = ENCODERS[config.encoder.kind].build(config.encoder)
    projector = new_projector(config.projector, encoder.width, width, scale=1.0)
    parts = {"encoder": encoder, "projector": projector, "language_model": language_model}
    wanted = {name: weights_of(part) for name, part in parts.items()}
    weights["language_model"] = without_copies(language_model, text, source=released.source)
    fill_parts(wanted, weights, source=released.source)
    rows = new_rows(num_new, width, embedding_std(language_model), ordered_rows)
    new_tokens = NewTokens(num_new, width, initial_VD=rows, output_D=mean_output_row(language_model))
    return AudioLM(encoder, projector, language_model, new_tokens)


def new_rows(num_new: int, width: int, scale: float, ordered_rows: range) -> Tensor:
    """(V, D) initial rows of new tokens; see ``build_model``."""
    rows_VD = torch.randn(num_new, width) * scale
    rows_VD[ordered_rows.start : ordered_rows.stop] = smooth_rows(len(ordered_rows), width, scale=scale)
    return rows_VD


def _language_model(
    config: LanguageModelConfig, num_base: int | None, *, trust_remote_code: bool
) -> PreTrainedModel:
    if config.load is None:
        if num_base is None:
            raise ValueError(
                "num_base is None; a randomly initialized language model needs the size of its tokenizer"
            )
        return new_language_model(config.architecture, config.settings, num_base=num_base)
    language_model = load_language_model(config.load, trust_remote_code=trust_remote_code)
    check_rows(input_table(language_model).num_embeddings, num_base, source=config.load)
    return language_model
