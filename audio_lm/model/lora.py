"""Low-rank updates of linear layers, by peft: put into a part, counted, added to the weights they update.

A fresh update changes nothing. The weights below it stay where they are and keep their names in files,
so a part with updates is saved and loaded as one without, and its updates lie in a file of their own.

Source: LoRA, arXiv:2106.09685.
"""

import importlib.util
import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from audio_lm.common.errors import CheckpointError, RecipeError, unknown
from audio_lm.model.config import LoraConfig

READ_NOT_CALLED = ("WavLMAttention", "MultiheadAttention")
"""Modules that read the weights of their linear layers and never call them: an update would not be heard of."""


def add_lora(part: nn.Module, config: LoraConfig) -> None:
    """Put updates into a part, in place.

    Raises:
        RecipeError: peft is not installed, or a target is no linear layer of the part.
    """
    peft = _peft()
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(targets_in(part, config)),
        bias="none",
    )
    peft.inject_adapter_in_model(settings, part)


def targets_in(part: nn.Module, config: LoraConfig) -> dict[str, nn.Linear]:
    """The layers of a part that are updated, by name.

    Raises:
        RecipeError: a target is no linear layer of the part.
    """
    head = part.get_output_embeddings() if isinstance(part, PreTrainedModel) else None
    unheard = {
        id(layer)
        for module in part.modules()
        if type(module).__name__ in READ_NOT_CALLED
        for layer in module.modules()
    }
    linear = {
        name: module
        for name, module in part.named_modules()
        if isinstance(module, nn.Linear) and module is not head and id(module) not in unheard
    }
    last_names = {name.rpartition(".")[2] for name in linear}
    if strange := sorted(set(config.targets) - last_names):
        raise RecipeError(
            unknown("lora target", strange[0], last_names, see="the linear layers of this part")
        )
    wanted = set(config.targets) or last_names
    return {name: module for name, module in linear.items() if name.rpartition(".")[2] in wanted}


def num_update_weights(part: nn.Module, config: LoraConfig) -> int:
    """Weights that ``add_lora`` would add.

    Raises:
        RecipeError: a target is no linear layer of the part.
    """
    targets = targets_in(part, config).values()
    return sum(config.rank * (layer.in_features + layer.out_features) for layer in targets)


def fresh_updates(wanted: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """The updates ``add_lora`` would begin with, for a part whose own have no values.

    Args:
        wanted: of ``updates_of``, for names and shapes.
    """
    fresh = dict[str, Tensor]()
    for name, tensor in wanted.items():
        if ".lora_A." in name:
            other = name.replace(".lora_A.", ".lora_B.")
            down = nn.Linear(tensor.shape[1], config.rank, bias=False)
            up = nn.Linear(config.rank, wanted[other].shape[0], bias=False)
            # peft makes two layers of torch and then draws the first one again.
            nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
            nn.init.zeros_(up.weight)
            fresh |= {name: down.weight.detach(), other: up.weight.detach()}
    return fresh


@torch.no_grad()
def updated_weights(part: nn.Module) -> dict[str, Tensor]:
    """Name -> weight with its update added, of every layer that has one; the part stays as it is.

    Raises:
        CheckpointError: an update is not finite.
    """
    return {f"{name}.weight": _updated(name, layer) for name, layer in _updated_layers(part)}


def _updated_layers(model: nn.Module) -> list[tuple[str, Any]]:
    """Layers of peft, which hold a weight and its update."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "get_base_layer")
    ]


def _updated(name: str, layer: Any) -> Tensor:
    weight: Tensor = layer.get_base_layer().weight
    updated = weight + layer.get_delta_weight("default").to(weight.dtype)
    if not updated.isfinite().all():
        raise CheckpointError(
            f"{name}: the weight with its update is not finite; take the weights of an earlier stage"
        )
    return updated


def _peft() -> ModuleType:
    if importlib.util.find_spec("peft") is None:
        raise RecipeError("model.lora needs peft, which is not installed; pip install 'audio-lm[lora]'")
    import peft

    return peft
