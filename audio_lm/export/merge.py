"""Merge low-rank updates into the weights and new tokens into the language model's tables.

Shapes: V rows of a table, D width.
"""

import torch
from torch import Tensor

from audio_lm.common.errors import UserError
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.decoder.language_model import input_table, output_table
from audio_lm.model.encoders.whisper import AudioEncoder
from audio_lm.model.lora import merge_lora
from audio_lm.model.projector import LinearProjector
from audio_lm.model.weights.parts import weights_of

DIFFERENT_IN_4 = ("gemma",)
"""Architectures that scale text and audio embeddings in transformers 4, but only text in 5: no folder works with both."""

WORDS, HEAD = "language_model.model.embed_tokens.weight", "language_model.lm_head.weight"


def merge_weights(model: AudioLM) -> dict[str, Tensor]:
    """All weights under our names, with merged updates and with new tokens in the language model's tables.

    The model is not changed. Both tables are returned even if the model ties them, because new tokens have separate
    input and output rows.

    Raises:
        UserError: the format has no place for this kind of encoder, projector or language model.
        CheckpointError: a merged weight is not finite.
    """
    _check_kinds(model)
    words, head = input_table(model.language_model), output_table(model.language_model)
    weights = {
        f"{part}.{name}": tensor.detach()
        for part, child in model.named_children()
        if part != "new_tokens"
        for name, tensor in (weights_of(child) | merge_lora(child)).items()
    }
    # Some architectures scale the rows in the embedding layer; our new rows are already scaled.
    scale = float(getattr(words, "embed_scale", 1.0))
    weights[WORDS] = torch.cat([words.weight.detach(), model.new_tokens.input.detach() / scale])
    weights[HEAD] = torch.cat([head.weight.detach(), model.new_tokens.output.detach()])
    return weights


def _check_kinds(model: AudioLM) -> None:
    unsupported = [
        f"{name} is a {type(part).__name__}"
        for name, part, kind in (
            ("encoder", model.encoder, AudioEncoder),
            ("projector", model.projector, LinearProjector),
        )
        if type(part) is not kind
    ]
    names = {name for name, _ in model.language_model.named_parameters(remove_duplicate=False)}
    head = output_table(model.language_model)
    is_standard = {"model.embed_tokens.weight", "lm_head.weight"} <= names and getattr(
        head, "bias", None
    ) is None
    if not is_standard or model.language_model.config.model_type in DIFFERENT_IN_4:
        unsupported.append(f"language_model is a {type(model.language_model).__name__}")
    if unsupported:
        raise UserError(
            f"this model cannot be written as a Qwen2-Audio: {'; '.join(unsupported)} -- expected the encoder whisper, the "
            f"projector linear and a language model such as qwen2 or llama -- train one of those"
        )
