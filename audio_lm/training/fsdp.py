"""A model shared out over the ranks: FSDP2 layer by layer, hybrid over nodes, tensor parallel in the language model.

Parts that learn are shared out with their gradients and optimizer states; frozen ones stay whole on every
rank or are shared out too. Gradients are added up and never averaged: the loss is already divided by the learned
tokens of all ranks. No name of a parameter changes.

Source: FSDP2, ``torch.distributed.fsdp.fully_shard``; HSDP and FSDP, arXiv:2304.11277; tensor parallel, arXiv:1909.08053.
"""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)

from audio_lm.common.errors import RecipeError
from audio_lm.model.weights.shards import outside

REPLICATE, SHARD, TENSOR = "replicate", "shard", "tensor"
LAYER = re.compile(r"\.layers\.\d+$")
PLAN: dict[str, Callable[[], ParallelStyle]] = {
    "self_attn.q_proj": ColwiseParallel,
    "self_attn.k_proj": ColwiseParallel,
    "self_attn.v_proj": ColwiseParallel,
    "self_attn.o_proj": RowwiseParallel,
    "mlp.gate_proj": ColwiseParallel,
    "mlp.up_proj": ColwiseParallel,
    "mlp.down_proj": RowwiseParallel,
}
"""How a layer such as Qwen2's or Llama's is cut: columns, then rows, so that two sums a layer are all that is sent."""


def new_mesh(device_type: str, *, num_groups: int, num_ranks: int, tensor_parallel: int = 1) -> DeviceMesh:
    """The ranks as a grid; neighbours are tensor parallel, then share out, then hold copies.

    Args:
        num_groups: groups of ranks that each hold the whole of what is shared out, such as nodes.
    """
    shape = (num_groups, num_ranks // num_groups // tensor_parallel, tensor_parallel)
    return init_device_mesh(device_type, shape, mesh_dim_names=(REPLICATE, SHARD, TENSOR))


def shard(
    model: nn.Module,
    mesh: DeviceMesh,
    *,
    trained: Collection[str],
    shard_frozen: bool = False,
    is_half: bool = False,
    cpu_offload: bool = False,
) -> None:
    """Share a model out, in place; weights may be empty (on ``meta``) and are then filled later.

    Args:
        mesh: of ``new_mesh``.
        trained: names of the parameters that learn at some step of the stage.
        shard_frozen: the others are shared out too.
        is_half: computes in bf16; weights, their gradients' sums and the optimizer stay in 32 bits.
        cpu_offload: what is shared out lies in the memory of the CPU between its uses.
    """
    if mesh[TENSOR].size() > 1:
        _cut_layers(model, mesh[TENSOR])
    learning = {parameter for name, parameter in model.named_parameters() if name in trained}
    ignored = {one for one in model.parameters() if not (shard_frozen or one in learning) or not one.numel()}
    settings: dict[str, Any] = {
        "mesh": mesh[REPLICATE, SHARD] if mesh[REPLICATE].size() > 1 else mesh[SHARD],
        "mp_policy": MixedPrecisionPolicy(torch.bfloat16, torch.float32)
        if is_half
        else MixedPrecisionPolicy(),
        "offload_policy": CPUOffloadPolicy(pin_memory=mesh.device_type != "cpu")
        if cpu_offload
        else OffloadPolicy(),
        "ignored_params": ignored,
    }
    for unit in fsdp_units(model):
        if not ignored.issuperset(unit.parameters()):
            fully_shard(unit, **settings)
    if is_half:  # waveforms reach the model in 32 bits, and a spectrogram needs them all
        settings["mp_policy"] = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    fully_shard(model, **settings)
    register_fsdp_forward_method(model, "loss")  # what a step calls, besides forward
    _add_up_unused(model)
    for module in _shared(model):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)


def _add_up_unused(model: nn.Module) -> None:
    """Have a rank bring zeros for what its pack does not use, or ranks whose packs do would wait for it."""
    if set_unused := getattr(model, "set_reduce_scatter_unused_params", None):  # since torch 2.13
        set_unused(True)
        return
    for module in _shared(model):
        group: Any = module._get_fsdp_state()._fsdp_param_group
        if group is not None:
            group.post_backward = partial(_behind_zeros, group, group.post_backward)


def _behind_zeros(group: Any, post_backward: Callable[..., None], *unused: Any) -> None:
    for one in group.fsdp_params if group.reduce_grads else ():
        weight = getattr(one, "_unsharded_param", None)
        if weight is None or not weight.requires_grad:
            continue
        if weight.grad is None and one.unsharded_accumulated_grad is None:
            weight.grad = torch.zeros_like(weight)
    post_backward(*unused)


def layers_in(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every layer of every part, by name."""
    return [(name, module) for name, module in model.named_modules() if LAYER.search(name)]


def fsdp_units(model: nn.Module) -> list[nn.Module]:
    """What is gathered and let go at once: each layer.

    All else belongs to the model itself and stays for a whole pack; the output layer has to, for its gradients are
    formed in the forward pass already, see ``model.next_token``.
    """
    return [layer for _, layer in layers_in(model)][::-1]


def check_sharded(model: nn.Module, trained: Collection[str]) -> None:
    """Refuse a model of which a trained parameter would be learned by each rank for itself.

    Raises:
        ValueError: names what is not shared out.
    """
    learning = {name: one for name, one in model.named_parameters() if name in trained}
    if left := outside(learning):
        raise ValueError(
            f"{len(left)} trained parameters are not shared out over the ranks: {left[:5]} -- their gradients would never be "
            f"added up and the ranks would part in silence -- shard the model with the names of all that learn"
        )


def check_tensor_parallel(model: nn.Module, num_pieces: int) -> None:
    """Refuse tensor parallel for a language model that the plan does not fit.

    Raises:
        RecipeError: its layers are of another kind, or cannot be cut into so many equal pieces.
    """
    config: Any = model.get_submodule("language_model").config
    heads = {name: getattr(config, name, None) for name in ("num_attention_heads", "num_key_value_heads")}
    heads = {name: count for name, count in heads.items() if count is not None and count % num_pieces}
    strange = {name for layer in _layers_to_cut(model) for name in _unplanned(layer)}
    if heads or strange:
        raise RecipeError(
            f"hardware.tensor_parallel={num_pieces} does not fit language model {config.model_type!r}: "
            f"{f'{heads} are no multiples of it' if heads else f'it knows nothing of {sorted(strange)}'}; "
            f"set it to 1, or choose a model such as qwen2 or llama, without lora"
        )


def set_gradient_sync(model: nn.Module, *, is_last: bool) -> None:
    """Before the backward pass of a pack: gradients travel behind the last one of a step only."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(is_last)
        model.set_is_last_backward(is_last)


def unfreeze(model: nn.Module, names: Collection[str]) -> None:
    """Let parameters learn from now on; all ranks at the same step."""
    frozen = [one for name, one in model.named_parameters() if name in names and not one.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    for module in _shared(model) if frozen else ():
        # Groups look at what learns, and at its precision, when they are gathered by hand.
        module.unshard()
        module.reshard()


def reshard(model: nn.Module) -> None:
    """Back to this rank's shares; without a backward pass the model itself stays gathered behind a forward pass."""
    for module in _shared(model):
        module.reshard()


@contextmanager
def summon_full_params(model: nn.Module) -> Iterator[None]:
    """Everything gathered on every rank for as long as answers are made, word by word; all ranks have to come."""
    shared = list(_shared(model))
    for module in shared:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in shared:
            module.set_reshard_after_forward(id(module) != id(model), recurse=False)
            module.reshard()


def materialise(model: nn.Module, device: torch.device, *, cpu_offload: bool = False) -> None:
    """Give empty parameters memory without values, and bring all else to the device; shared ones stay shared.

    Args:
        cpu_offload: what is shared out over the ranks lies on the CPU.
    """
    made: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            if parameter not in made:
                is_away = cpu_offload and isinstance(parameter, DTensor)
                made[parameter] = _on(parameter, torch.device("cpu") if is_away else device)
            module._parameters[name] = made[parameter]
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else buffer.to(device)


def _on(parameter: nn.Parameter, device: torch.device) -> nn.Parameter:
    values = parameter.detach()
    values = torch.empty_like(values, device=device) if values.is_meta else values.to(device)
    return nn.Parameter(values, requires_grad=parameter.requires_grad)


def _shared(model: nn.Module) -> Iterator[FSDPModule]:
    return (module for module in model.modules() if isinstance(module, FSDPModule))


def _cut_layers(model: nn.Module, mesh: DeviceMesh) -> None:
    """Tensor parallel in every layer of the language model."""
    check_tensor_parallel(model, mesh.size())
    for layer in _layers_to_cut(model):
        parallelize_module(layer, mesh, {name: style() for name, style in PLAN.items()})


def _layers_to_cut(model: nn.Module) -> list[nn.Module]:
    return [layer for name, layer in layers_in(model) if name.startswith("language_model.")]


def _unplanned(layer: nn.Module) -> set[str]:
    """What the plan has not foreseen: a layer of another kind, or weights that would only see a piece of the heads."""
    modules = dict(layer.named_modules())
    strange = {name for name in PLAN if type(modules.get(name)) is not nn.Linear}
    inside = [name.rpartition(".")[0] for name, _ in layer.named_parameters()]
    return strange | {name for name in inside if "." in name and name not in PLAN}
