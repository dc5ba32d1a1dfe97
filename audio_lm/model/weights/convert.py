"""Convert the weights of published models to our names, and back.

Names are mapped by the tables in ``names``. Here are also the few cases in which a tensor is split or moved. Shapes
are checked later, when the weights are copied into a part.

Shapes: D width, V rows of the language model's tables.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor

from audio_lm.common.errors import CheckpointError
from audio_lm.model.weights.files import first_few
from audio_lm.model.weights.names import (
    ENCODER_PREFIXES,
    QWEN2_AUDIO,
    QWEN2_AUDIO_5,
    QWEN_AUDIO,
    WHISPER,
    Rows,
)

Value = TypeVar("Value")
"""A tensor, or anything else that belongs to a name of a weight or a layer."""

FUSED = re.compile(r"(transformer\.h\.\d+\.attn)\.c_attn\.(weight|bias)")
CLIP_BORDERS = "transformer.audio.audio_bos_eos_token.weight"
DERIVED = (".rotary_emb.inv_freq", ".attn.masked_bias")
"""Buffers in older files, which are computed from the settings instead."""


def encoder_weights(weights: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """Encoder weights of a published Whisper, Qwen2-Audio or Qwen-Audio, under our names.

    Raises:
        CheckpointError: there is no encoder, or a tensor in it has no row in the table.
    """
    for prefix in ENCODER_PREFIXES:
        if f"{prefix}conv1.weight" in weights:
            own = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
            break
    else:
        raise CheckpointError(
            f"encoder {source!r}: no convolutions under {list(ENCODER_PREFIXES)} in {len(weights)} tensors; give a "
            f"Whisper, Qwen2-Audio or Qwen-Audio with safetensors files"
        )
    if "positional_embedding" not in own:
        return own
    borders_and_projector = ("proj.", "audio_bos_eos_token.")
    own = {name: tensor for name, tensor in own.items() if not name.startswith(borders_and_projector)}
    return rename_weights(own, [(theirs, ours) for ours, theirs in WHISPER], source=source)


def from_qwen2_audio(weights: Mapping[str, Value], *, source: str) -> dict[str, Value]:
    """Convert weights of Qwen2-Audio, named as in released files or as in a state dict of transformers 5.

    Raises:
        CheckpointError: a tensor has no row in the table.
    """
    is_5 = any(name.startswith(("model.", "lm_head.")) for name in weights)
    rows = QWEN2_AUDIO_5 if is_5 else QWEN2_AUDIO
    return rename_weights(weights, [(theirs, ours) for ours, theirs in rows], source=source)


def to_qwen2_audio(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert our weights to the names of the released files."""
    return rename_weights(weights, QWEN2_AUDIO, source="this model")


def to_qwen2_audio_5(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert our weights to the names of the modules in transformers 5."""
    return rename_weights(weights, QWEN2_AUDIO_5, source="this model")


def from_qwen_audio(weights: Mapping[str, Tensor], *, clip_start_id: int, source: str) -> dict[str, Tensor]:
    """Convert weights of Qwen-Audio.

    In Qwen-Audio, the vectors before and after a clip are parameters of the encoder and replace the embeddings of
    the tokens ``<audio>`` and ``</audio>``. Here they become the embedding rows of these tokens.

    Args:
        clip_start_id: id of ``<audio>``; ``</audio>`` has the next id.

    Raises:
        CheckpointError: a tensor has no row in the table, or cannot be split.
    """
    split_weights: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if match := FUSED.fullmatch(name):
            if tensor.shape[0] % 3:
                raise CheckpointError(
                    f"{source}: {name} has {tensor.shape[0]} rows, expected a multiple of 3 for query, key and value; give "
                    f"the released files"
                )
            for rows, projection in zip(tensor.chunk(3), ("query", "key", "value"), strict=True):
                split_weights[f"{match[1]}.{projection}.{match[2]}"] = rows
        elif not name.endswith(DERIVED):
            split_weights[name] = tensor
    borders_2D, words_VD = split_weights.pop(CLIP_BORDERS, None), split_weights.get("transformer.wte.weight")
    if borders_2D is not None and words_VD is not None:
        words_VD = words_VD.clone()
        words_VD[clip_start_id : clip_start_id + 2] = borders_2D.to(words_VD.dtype)
        split_weights["transformer.wte.weight"] = words_VD
    return rename_weights(split_weights, [(theirs, ours) for ours, theirs in QWEN_AUDIO], source=source)


def by_part(weights: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """Group weights by part: part -> its weights, named as inside the part."""
    parts: dict[str, dict[str, Value]] = {}
    for name, tensor in weights.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    return parts


def rename_weights(
    weights: Mapping[str, Value], rows: Rows | list[tuple[str, str]], *, source: str
) -> dict[str, Value]:
    """Rename weights from the first to the second column of a table.

    Raises:
        CheckpointError: lists the tensors that have no row.
    """
    patterns = [
        (re.compile(re.escape(old).replace(r"\{\}", r"(\d+)") + r"(\..+)?"), new) for old, new in rows
    ]
    result: dict[str, Value] = {}
    extra = []
    for name, tensor in weights.items():
        for pattern, new in patterns:
            if match := pattern.fullmatch(name):
                result[(new + "{}").format(*(group or "" for group in match.groups()))] = tensor
                break
        else:
            extra.append(f"{name} is extra")
    if extra:
        raise CheckpointError(
            f"{source}: {first_few(extra)} -- {len(extra)} of {len(weights)} tensors do not belong to this kind of model "
            f"-- give a checkpoint of the model itself"
        )
    return result
