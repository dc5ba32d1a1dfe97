"""Weights of published models under our names, and back.

Tables say which name is which (``names``); here are the few places where a tensor is cut or
moved as well. Whether the shapes fit is found when a part is filled.

Shapes: D width, V rows of the language model's tables.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from audio_lm.common.errors import CheckpointError
from audio_lm.model.weights.files import some_of
from audio_lm.model.weights.names import (
    ENCODER_PREFIXES,
    QWEN2_AUDIO,
    QWEN2_AUDIO_5,
    QWEN_AUDIO,
    WHISPER,
    Rows,
)

FUSED = re.compile(r"(transformer\.h\.\d+\.attn)\.c_attn\.(weight|bias)")
CLIP_BORDERS = "transformer.audio.audio_bos_eos_token.weight"
DERIVED = (".rotary_emb.inv_freq", ".attn.masked_bias")
"""Buffers that older files keep and that follow from the settings."""


def encoder_weights(weights: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """The encoder of a published Whisper, Qwen2-Audio or Qwen-Audio, under our names.

    Raises:
        CheckpointError: there is none among the weights, or something in it is not an encoder's.
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
    return renamed(own, [(theirs, ours) for ours, theirs in WHISPER], source=source)


def from_qwen2_audio(weights: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """Weights of Qwen2-Audio, in the layout of files or of transformers 5's memory.

    Raises:
        CheckpointError: a tensor has no row in the table.
    """
    is_5 = any(name.startswith("model.audio_tower.") for name in weights)
    rows = QWEN2_AUDIO_5 if is_5 else QWEN2_AUDIO
    return renamed(weights, [(theirs, ours) for ours, theirs in rows], source=source)


def to_qwen2_audio(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under the names of the released files."""
    return renamed(weights, QWEN2_AUDIO, source="this model")


def from_qwen_audio(weights: Mapping[str, Tensor], *, clip_start_id: int, source: str) -> dict[str, Tensor]:
    """Weights of Qwen-Audio.

    There the vectors around a clip belong to the encoder and take the places of the tokens
    ``<audio>`` and ``</audio>``; here they are those tokens' rows.

    Args:
        clip_start_id: of ``<audio>``; ``</audio>`` follows it.

    Raises:
        CheckpointError: a tensor has no row in the table, or cannot be taken apart.
    """
    apart: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if match := FUSED.fullmatch(name):
            if tensor.shape[0] % 3:
                raise CheckpointError(
                    f"{source}: {name} has {tensor.shape[0]} rows, which are not three equal shares for query, key and "
                    f"value; give the model's own files"
                )
            for share, part in zip(tensor.chunk(3), ("query", "key", "value"), strict=True):
                apart[f"{match[1]}.{part}.{match[2]}"] = share
        elif not name.endswith(DERIVED):
            apart[name] = tensor
    borders_2D, words_VD = apart.pop(CLIP_BORDERS, None), apart.get("transformer.wte.weight")
    if borders_2D is not None and words_VD is not None:
        words_VD = words_VD.clone()
        words_VD[clip_start_id : clip_start_id + 2] = borders_2D.to(words_VD.dtype)
        apart["transformer.wte.weight"] = words_VD
    return renamed(apart, [(theirs, ours) for ours, theirs in QWEN_AUDIO], source=source)


def by_part(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Part -> its weights, named as inside the part."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    return parts


def renamed(
    weights: Mapping[str, Tensor], rows: Rows | list[tuple[str, str]], *, source: str
) -> dict[str, Tensor]:
    """Weights under the names of the rows' second column.

    Raises:
        CheckpointError: names the tensors that have no row.
    """
    patterns = [
        (re.compile(re.escape(old).replace(r"\{\}", r"(\d+)") + r"(\..+)?"), new) for old, new in rows
    ]
    found, strangers = {}, []
    for name, tensor in weights.items():
        for pattern, new in patterns:
            if match := pattern.fullmatch(name):
                found[(new + "{}").format(*(group or "" for group in match.groups()))] = tensor
                break
        else:
            strangers.append(f"{name} is extra")
    if strangers:
        raise CheckpointError(
            f"{source}: {some_of(strangers)} -- of {len(weights)} tensors {len(strangers)} have no place in this kind of "
            f"model -- give a checkpoint of the model itself"
        )
    return found
