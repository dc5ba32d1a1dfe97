"""Low-rank updates (LoRA) of linear layers with peft: add them to a part, count their weights, merge them.

A new update does not change the output of its layer. The base weights keep their names in files: a part with
updates is saved and loaded like a part without, and its updates are in a separate file.

Source: LoRA, arXiv:2106.09685.
"""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from audio_lm.common.errors import CheckpointError, RecipeError, unknown
from audio_lm.model.config import LoraConfig
from audio_lm.model.weights.adapter import Adapter, Update
from audio_lm.model.weights.files import first_few
from audio_lm.model.weights.parts import updates_of, weights_of
from audio_lm.model.weights.shards import add_to_local, copy_to_local

READ_NOT_CALLED = ("WavLMAttention", "MultiheadAttention")
"""Modules that use the weights of their linear layers without calling the layers: an update would have no effect."""


def add_lora(part: nn.Module, config: LoraConfig) -> None:
    """Add low-rank updates to a part, in place.

    Raises:
        RecipeError: peft is not installed, or a target is not a linear layer of the part.
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
    """Name -> linear layer of a part that gets an update.

    Raises:
        RecipeError: a target is not a linear layer of the part.
    """
    head = part.get_output_embeddings() if isinstance(part, PreTrainedModel) else None
    never_called = {
        id(layer)
        for module in part.modules()
        if type(module).__name__ in READ_NOT_CALLED
        for layer in module.modules()
    }
    linear = {
        name: module
        for name, module in part.named_modules()
        if isinstance(module, nn.Linear) and module is not head and id(module) not in never_called
    }
    last_names = {name.rpartition(".")[2] for name in linear}
    if unknown_targets := sorted(set(config.targets) - last_names):
        raise RecipeError(
            unknown("lora target", unknown_targets[0], last_names, see="the linear layers of this part")
        )
    wanted = set(config.targets) or last_names
    return {name: module for name, module in linear.items() if name.rpartition(".")[2] in wanted}


def num_update_weights(part: nn.Module, config: LoraConfig) -> int:
    """Number of weights that ``add_lora`` would add.

    Raises:
        RecipeError: a target is not a linear layer of the part.
    """
    targets = targets_in(part, config).values()
    return sum(config.rank * (layer.in_features + layer.out_features) for layer in targets)


def init_updates(wanted: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """Initial values of the updates, drawn as in ``add_lora``, for a part on the ``meta`` device.

    Args:
        wanted: result of ``updates_of``, for names and shapes.
    """
    fresh = dict[str, Tensor]()
    for name, tensor in wanted.items():
        if ".lora_A." in name:
            name_of_B = name.replace(".lora_A.", ".lora_B.")
            lora_A = nn.Linear(tensor.shape[1], config.rank, bias=False)
            lora_B = nn.Linear(config.rank, wanted[name_of_B].shape[0], bias=False)
            # peft creates both layers with torch's initialization and then draws the first one again: the random
            # number generator must advance in the same way.
            nn.init.kaiming_uniform_(lora_A.weight, a=math.sqrt(5))
            nn.init.zeros_(lora_B.weight)
            fresh |= {name: lora_A.weight.detach(), name_of_B: lora_B.weight.detach()}
    return fresh


@torch.no_grad()
def merge_lora(part: nn.Module) -> dict[str, Tensor]:
    """Name -> merged weight (base plus update) of every layer with an update; the part is not changed.

    Raises:
        CheckpointError: a merged weight is not finite.
    """
    return {f"{name}.weight": _merged_weight(name, layer) for name, layer in _updated_layers(part)}


def apply_adapter(model: nn.Module, adapter: Adapter, lora: Mapping[str, LoraConfig]) -> None:
    """Merge the updates of an adapter into the weights of a model; those of a part under ``lora`` become its updates.

    The model is not changed if a part does not fit.

    Args:
        model: with its weights loaded; may be sharded.
        lora: settings of the parts that have updates.

    Raises:
        CheckpointError: the adapter has a layer that the model lacks, or of another shape.
        RecipeError: the updates under ``lora`` have other layers, another rank or another scale.
    """
    weights = {part: weights_of(getattr(model, part)) for part in adapter.updates}
    problems = [
        problem
        for part, updates in adapter.updates.items()
        for layer, update in updates.items()
        for problem in _misfits(f"{part}.{layer}", update, weights[part].get(f"{layer}.weight"))
    ]
    if problems:
        raise CheckpointError(
            f"adapter {adapter.source!r} does not fit the model: {first_few(problems)} -- its layers must be those of "
            f"model.load -- give the model that it was trained on"
        )
    for part in lora.keys() & adapter.updates.keys():
        _check_equal(adapter, part, lora[part], updates_of(getattr(model, part)))
    for part, updates in adapter.updates.items():
        own = updates_of(getattr(model, part))
        for layer, update in updates.items():
            if part in lora:
                copy_to_local(own[f"{layer}.lora_A.weight"], update.down)
                copy_to_local(own[f"{layer}.lora_B.weight"], update.up)
            else:
                add_to_local(weights[part][f"{layer}.weight"], update.change())


def _misfits(name: str, update: Update, weight: Tensor | None) -> list[str]:
    if weight is None:
        return [f"the model has no layer {name}"]
    if tuple(weight.shape) != (update.up.shape[0], update.down.shape[1]):
        return [
            f"{name} is for a weight of shape {(update.up.shape[0], update.down.shape[1])} and not {tuple(weight.shape)}"
        ]
    return []


def _check_equal(adapter: Adapter, part: str, config: LoraConfig, own: Mapping[str, Tensor]) -> None:
    """Check that updates of the recipe have the layers, the rank and the scale of an adapter.

    Raises:
        RecipeError: they have not.
    """
    updates = adapter.updates[part]
    scale = config.alpha / config.rank
    has_equal_layers = {name.rsplit(".", 2)[0] for name in own} == updates.keys()
    if has_equal_layers and all(
        update.rank == config.rank and math.isclose(update.scale, scale) for update in updates.values()
    ):
        return
    ranks, scales = (
        sorted({getattr(update, name) for update in updates.values()}) for name in ("rank", "scale")
    )
    last = sorted({layer.rpartition(".")[2] for layer in updates})
    raise RecipeError(
        f"model.lora.{part} has rank {config.rank}, alpha {config.alpha:g} and {len(own) // 2} layers -- the adapter "
        f"{adapter.source!r} has rank {_listed(ranks)}, alpha {_listed([rank * one for rank in ranks for one in scales])} and "
        f"{len(updates)} layers, {', '.join(last)} -- set the same rank, alpha and targets, or remove model.lora.{part}, so "
        f"that the adapter is merged"
    )


def _listed(numbers: Sequence[float]) -> str:
    return " or ".join(f"{number:g}" for number in dict.fromkeys(numbers))


def _updated_layers(model: nn.Module) -> list[tuple[str, Any]]:
    """Layers of peft, which contain a base layer and its update."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "get_base_layer")
    ]


def _merged_weight(name: str, layer: Any) -> Tensor:
    weight: Tensor = layer.get_base_layer().weight
    merged = weight + layer.get_delta_weight("default").to(weight.dtype)
    if not merged.isfinite().all():
        raise CheckpointError(f"{name}: the merged weight is not finite; use the weights of an earlier stage")
    return merged


def _peft() -> ModuleType:
    if importlib.util.find_spec("peft") is None:
        raise RecipeError("model.lora needs peft, which is not installed; pip install 'audio-lm[lora]'")
    import peft

    return peft
