"""A model as others keep one: low-rank updates are added up, new tokens become rows of its own tables.

Shapes: V rows of a table, D width.
"""

import torch
from torch import Tensor, nn

from audio_lm.common.errors import UserError
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.encoders.whisper import AudioEncoder
from audio_lm.model.lora import updated_weights
from audio_lm.model.projector import LinearProjector
from audio_lm.model.weights.parts import weights_of

DIFFERENT_IN_4 = ("gemma",)
"""Architectures that enlarge words and audio in transformers 4 and words alone in 5: no folder serves both."""

WORDS, HEAD = "language_model.model.embed_tokens.weight", "language_model.lm_head.weight"


def merged_weights(model: AudioLM) -> dict[str, Tensor]:
    """All weights under our names, updates added to what they change, new tokens in the language model's tables.

    The model stays as it is.
    Both tables are written, though the model may have tied them: new tokens have two rows each.

    Raises:
        UserError: an encoder, projector or language model that Qwen2-Audio has no place for.
        CheckpointError: an update is not finite.
    """
    _check_kinds(model)
    words, head = model.language_model.get_input_embeddings(), model.language_model.get_output_embeddings()
    weights = {
        f"{part}.{name}": tensor.detach()
        for part, child in model.named_children()
        if part != "new_tokens"
        for name, tensor in (weights_of(child) | updated_weights(child)).items()
    }
    # Some architectures enlarge words on their way out of the table; new rows are kept as they come out.
    scale = float(getattr(words, "embed_scale", 1.0))
    weights[WORDS] = torch.cat([words.weight.detach(), model.new_tokens.input.detach() / scale])
    weights[HEAD] = torch.cat([head.weight.detach(), model.new_tokens.output.detach()])
    return weights


def _check_kinds(model: AudioLM) -> None:
    strangers = [
        f"{name} is a {type(part).__name__}"
        for name, part, kind in (
            ("encoder", model.encoder, AudioEncoder),
            ("projector", model.projector, LinearProjector),
        )
        if type(part) is not kind
    ]
    names = {name for name, _ in model.language_model.named_parameters(remove_duplicate=False)}
    head: nn.Module = model.language_model.get_output_embeddings()
    is_plain = {"model.embed_tokens.weight", "lm_head.weight"} <= names and getattr(
        head, "bias", None
    ) is None
    if not is_plain or model.language_model.config.model_type in DIFFERENT_IN_4:
        strangers.append(f"language_model is a {type(model.language_model).__name__}")
    if strangers:
        raise UserError(
            f"this model cannot be written as a Qwen2-Audio: {'; '.join(strangers)} -- expected the encoder whisper, the "
            f"projector linear and a language model such as qwen2 or llama -- train one of those"
        )
