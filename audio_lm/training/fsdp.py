"""Sharding of the model: FSDP2 layer by layer, HSDP over nodes, tensor parallelism in the language model.

Trained parameters are sharded with their gradients and optimizer states; frozen ones are replicated or sharded.
Gradients are summed, not averaged: the loss is already divided by the learned tokens of all ranks. Parameter
names do not change.

Source: FSDP2, ``torch.distributed.fsdp.fully_shard``; HSDP and FSDP, arXiv:2304.11277; tensor parallel, arXiv:1909.08053.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

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
    RowwiseParallel,
    parallelize_module,
)

from audio_lm.common import compat
from audio_lm.common.errors import RecipeError
from audio_lm.model.cpu_linear import CpuLinear
from audio_lm.model.weights.shards import unsharded_parameters

REPLICATE, SHARD, TENSOR = "replicate", "shard", "tensor"
LAYER_NAME = re.compile(r"\.layers\.\d+$")
TENSOR_PARALLEL_PLAN: dict[str, type[ColwiseParallel | RowwiseParallel]] = {
    "self_attn.q_proj": ColwiseParallel,
    "self_attn.k_proj": ColwiseParallel,
    "self_attn.v_proj": ColwiseParallel,
    "self_attn.o_proj": RowwiseParallel,
    "mlp.gate_proj": ColwiseParallel,
    "mlp.up_proj": ColwiseParallel,
    "mlp.down_proj": RowwiseParallel,
}
"""Plan for layers like those of Qwen2 or Llama: columns, then rows, so that a layer needs two all-reduces only."""


def new_mesh(device_type: str, *, num_groups: int, num_ranks: int, tensor_parallel: int = 1) -> DeviceMesh:
    """Device mesh of shape (replicate, shard, tensor); adjacent ranks are tensor parallel.

    Args:
        num_groups: groups of ranks that each hold a full copy of the sharded parameters, such as nodes.
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
    """Shard a model with FSDP2, in place; parameters may be on the meta device and are then initialised later.

    Args:
        mesh: of ``new_mesh``.
        trained: names of the parameters that are trained at any step of the stage.
        shard_frozen: the other parameters are sharded too.
        is_half: compute in bf16; weights, sums of gradients and optimizer states stay in float32.
        cpu_offload: keep sharded parameters in CPU memory between uses.
    """
    if mesh[TENSOR].size() > 1:
        _parallelize_layers(model, mesh[TENSOR])
    trained_parameters = {parameter for name, parameter in model.named_parameters() if name in trained}
    ignored = {
        parameter
        for parameter in model.parameters()
        if not (shard_frozen or parameter in trained_parameters) or not parameter.numel()
    }
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
    if is_half:  # the log-mel spectrogram needs waveforms in float32
        settings["mp_policy"] = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    fully_shard(model, **settings)
    register_fsdp_forward_method(model, "loss")  # a training step calls it instead of forward
    _reduce_unused(model)
    for module in _fsdp_modules(model):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)


def _reduce_unused(model: nn.Module) -> None:
    """Reduce zeros for parameters that a rank's pack does not use; ranks that use them would wait for it."""
    if set_unused := getattr(model, "set_reduce_scatter_unused_params", None):  # since torch 2.13
        set_unused(True)
        return
    for module in _fsdp_modules(model):
        group: Any = compat.fsdp_group(module)
        if group is not None:
            group.post_backward = partial(_zeros_then, group, group.post_backward)


class _PostBackward(Protocol):
    """Backward hook of FSDP2 that reduces the gradients of a group."""

    def __call__(self, *unused: Any) -> None:
        """Reduce them."""


def _zeros_then(group: Any, post_backward: _PostBackward, *unused: Any) -> None:
    """Set missing gradients of a group to zero and call its hook."""
    for fsdp_param in group.fsdp_params if group.reduce_grads else ():
        weight = compat.unsharded_parameter(fsdp_param)
        if weight is None or not weight.requires_grad:
            continue
        if weight.grad is None and fsdp_param.unsharded_accumulated_grad is None:
            weight.grad = torch.zeros_like(weight)
    post_backward(*unused)


def layers_in(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Names and modules of the layers of all parts."""
    return [(name, module) for name, module in model.named_modules() if LAYER_NAME.search(name)]


def fsdp_units(model: nn.Module) -> list[nn.Module]:
    """Modules that FSDP2 unshards and reshards one at a time: the layers, last ones first.

    All other parameters belong to the model itself and stay unsharded for a whole pack. The output layer needs
    that: its gradients are computed in the forward pass, see ``model.decoder.chunked_cross_entropy``.
    """
    return [layer for _, layer in layers_in(model)][::-1]


def check_sharded(model: nn.Module, trained: Collection[str]) -> None:
    """Refuse a model with a trained parameter that is not sharded.

    Raises:
        ValueError: names the parameters.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in trained}
    if unsharded := unsharded_parameters(parameters):
        # Their gradients would not be summed, and the replicas of the ranks would diverge without an error.
        raise ValueError(
            f"{len(unsharded)} trained parameters are not sharded: {unsharded[:5]} -- all trained parameters must be, or their "
            f"gradients are not summed over ranks -- call shard() with the names of all trained parameters"
        )


def check_tensor_parallel(model: nn.Module, num_ranks: int) -> None:
    """Refuse tensor parallelism for a language model that does not fit ``TENSOR_PARALLEL_PLAN``.

    Raises:
        RecipeError: its layers are of another kind, or its heads cannot be divided equally.
    """
    config: Any = model.get_submodule("language_model").config
    heads = {name: getattr(config, name, None) for name in ("num_attention_heads", "num_key_value_heads")}
    heads = {name: count for name, count in heads.items() if count is not None and count % num_ranks}
    unsupported = {name for layer in _language_model_layers(model) for name in _outside_plan(layer)}
    if heads or unsupported:
        raise RecipeError(
            f"hardware.tensor_parallel={num_ranks} does not fit language model {config.model_type!r}: "
            f"{f'{heads} are not multiples of it' if heads else f'it does not support {sorted(unsupported)}'}; "
            f"set it to 1, or choose a model such as qwen2 or llama without lora"
        )


def set_gradient_sync(model: nn.Module, *, is_last: bool) -> None:
    """Set, before the backward pass of a pack, that gradients are reduced after the last pack of a step only."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(is_last)
        model.set_is_last_backward(is_last)


def unfreeze(model: nn.Module, names: Collection[str]) -> None:
    """Train frozen parameters from now on; all ranks call it at the same step."""
    frozen = [
        parameter
        for name, parameter in model.named_parameters()
        if name in names and not parameter.requires_grad
    ]
    for parameter in frozen:
        parameter.requires_grad_(True)
    for module in _fsdp_modules(model) if frozen else ():
        # FSDP2 reads `requires_grad` and the dtype of a group in `unshard`.
        module.unshard()
        module.reshard()


def reshard(model: nn.Module) -> None:
    """Free unsharded parameters; without a backward pass the root module stays unsharded after a forward pass."""
    for module in _fsdp_modules(model):
        module.reshard()


@contextmanager
def summon_full_params(model: nn.Module) -> Iterator[None]:
    """Unshard all parameters on every rank, such as for generation; a collective."""
    modules = list(_fsdp_modules(model))
    if isinstance(model, FSDPModule):
        compat.init_fsdp_root(model)  # before the first forward pass, unsharding a layer would make it a root
    for module in modules:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in modules:
            module.set_reshard_after_forward(id(module) != id(model), recurse=False)
            module.reshard()


def materialise(model: nn.Module, device: torch.device, *, cpu_offload: bool = False) -> None:
    """Move a model to a device and allocate its parameters that are on the meta device; tied ones stay tied.

    Args:
        cpu_offload: sharded parameters are on the CPU.
    """
    moved: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in compat.own_parameters(module).items():
            if parameter is None:
                continue
            if parameter not in moved:
                is_offloaded = cpu_offload and isinstance(parameter, DTensor)
                moved[parameter] = _on(parameter, torch.device("cpu") if is_offloaded else device)
            compat.own_parameters(module)[name] = moved[parameter]
        for name, buffer in compat.own_buffers(module).items():
            compat.own_buffers(module)[name] = None if buffer is None else buffer.to(device)


def _on(parameter: nn.Parameter, device: torch.device) -> nn.Parameter:
    """Copy of a parameter on a device, uninitialised if it was on the meta device."""
    values = parameter.detach()
    values = torch.empty_like(values, device=device) if values.is_meta else values.to(device)
    return nn.Parameter(values, requires_grad=parameter.requires_grad)


def _fsdp_modules(model: nn.Module) -> Iterator[FSDPModule]:
    return (module for module in model.modules() if isinstance(module, FSDPModule))


def _parallelize_layers(model: nn.Module, mesh: DeviceMesh) -> None:
    """Apply tensor parallelism to every layer of the language model."""
    check_tensor_parallel(model, mesh.size())
    for layer in _language_model_layers(model):
        parallelize_module(layer, mesh, {name: style() for name, style in TENSOR_PARALLEL_PLAN.items()})


def _language_model_layers(model: nn.Module) -> list[nn.Module]:
    return [layer for name, layer in layers_in(model) if name.startswith("language_model.")]


def _outside_plan(layer: nn.Module) -> set[str]:
    """Names that the plan does not cover: other module types, or weights that would see only a part of the heads."""
    modules = dict(layer.named_modules())
    mismatched = {
        name for name in TENSOR_PARALLEL_PLAN if type(modules.get(name)) not in (nn.Linear, CpuLinear)
    }
    with_weights = [name.rpartition(".")[0] for name, _ in layer.named_parameters()]
    return mismatched | {name for name in with_weights if "." in name and name not in TENSOR_PARALLEL_PLAN}
