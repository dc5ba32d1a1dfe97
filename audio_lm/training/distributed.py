"""Data parallelism: each rank trains on its own packs, and gradients are summed over ranks once a step.

``DistributedDataParallel`` hooks every backward pass: it waits for parameters that a rank has not used, and
ignores those that are unfrozen later. Here all ranks sum the same list of gradients after their last pack.
Sharded parameters are summed by FSDP2's own hooks, see ``fsdp``; norms and counts are summed here in both cases.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from audio_lm.common import compat
from audio_lm.common.env import world_size
from audio_lm.common.transfer import is_on_host
from audio_lm.model.weights.shards import num_copies

CLIP_EPSILON = 1e-6  # of torch's own clipping
BUCKET_VALUES = 1 << 25  # per all-reduce; a copy of as many is made
Item = TypeVar("Item")


class TokenSumDDPStrategy(DDPStrategy):
    """Lightning's DDP strategy without its ``DistributedDataParallel`` wrapper."""

    def configure_ddp(self) -> None:
        """Broadcast the weights of the first rank."""
        assert self.model is not None, "Lightning calls this with the model that it was given"
        for value in self.model.state_dict().values():
            torch.distributed.broadcast(value, src=0)


class FSDP2Strategy(ModelParallelStrategy):
    """Lightning's strategy for a model that is already sharded.

    Args:
        mesh: of ``fsdp.new_mesh``.
        cpu_offload: sharded parameters stay on the CPU.
    """

    def __init__(self, mesh: DeviceMesh, *, cpu_offload: bool = False) -> None:
        *data, tensor = mesh.shape
        super().__init__(
            data_parallel_size=math.prod(data),
            tensor_parallel_size=tensor,
            save_distributed_checkpoint=False,
        )
        self.mesh = mesh
        self.cpu_offload = cpu_offload

    def setup_environment(self) -> None:
        """Use the given mesh; Lightning's strategy would create new process groups for every stage."""
        self._setup_distributed()
        self._device_mesh = self.mesh

    def model_to_device(self) -> None:
        """Move the model to the device, unless it is offloaded."""
        if not self.cpu_offload:
            super().model_to_device()


def all_reduce_sum(*values: float) -> list[float]:
    """Sum each value over all ranks."""
    if world_size() == 1:
        return list(values)
    totals = torch.tensor(values, dtype=torch.float64)
    torch.distributed.all_reduce(totals)
    return list(totals.tolist())


def all_gather_object(item: Item, *, tensor_parallel: int = 1) -> list[Item]:
    """Gather an object of every rank, in the order of ranks.

    Args:
        tensor_parallel: number of adjacent ranks that train on the same packs; the object of the first is kept.
    """
    if world_size() == 1:
        return [item]
    items: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(items, item)
    return items[::tensor_parallel]


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Sum gradients over ranks, except sharded ones; a parameter that no rank has used keeps none."""
    if world_size() == 1:
        return
    trained = [
        parameter
        for parameter in parameters
        if parameter.requires_grad and not isinstance(parameter, DTensor)
    ]
    if not trained:
        return
    num_users = all_reduce_sum(*(float(parameter.grad is not None) for parameter in trained))
    gradients = []
    for parameter, count in zip(trained, num_users, strict=True):
        if count:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        torch.distributed.all_reduce(flat)
        totals = flat.split([gradient.numel() for gradient in bucket])
        for gradient, total in zip(bucket, totals, strict=True):
            gradient.copy_(total.view_as(gradient))


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Norm of the gradient of all parameters over all ranks, a scalar of the device; the same on every rank.

    NaN if any value on any rank is not finite.
    """
    parameters = list(parameters)
    # Every rank needs the same device for the sum, also one without gradients. Offloaded gradients are on the CPU.
    devices = (parameter.device for parameter in parameters if parameter.requires_grad)
    device = next(devices, torch.device("cpu"))
    squares = torch.zeros((), dtype=torch.float64, device=device)
    for gradients, copies in _by_num_copies(parameters):
        norms = torch.stack(compat.foreach_norm(gradients)).double()
        squares += norms.square().sum().to(device) / copies
    if world_size() > 1:
        torch.distributed.all_reduce(squares)
    return torch.where(squares.isfinite(), squares.sqrt(), torch.nan)


def clip_gradients(parameters: Iterable[nn.Parameter], norm: Tensor, max_norm: float) -> None:
    """Scale all gradients down to a norm, in place; a norm of NaN changes none.

    Args:
        norm: of ``gradient_norm``.
    """
    if is_on_host(norm) and not norm > max_norm:
        return
    factor = torch.where(norm > max_norm, max_norm / (norm + CLIP_EPSILON), 1.0)
    for gradients, _ in _by_num_copies(parameters):
        # A factor of the gradients' own type is applied to all of them in one kernel.
        dtype = torch.promote_types(gradients[0].dtype, torch.float32)
        compat.foreach_scale(gradients, factor.to(gradients[0].device, dtype))


def _by_num_copies(parameters: Iterable[nn.Parameter]) -> Iterator[tuple[list[Tensor], int]]:
    """Local gradients of this rank, grouped by the number of ranks that have the same values."""
    groups: dict[tuple[int, torch.device], list[Tensor]] = {}
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None:
            local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
            groups.setdefault((num_copies(gradient, world_size()), local.device), []).append(local)
    yield from ((gradients, copies) for (copies, _), gradients in groups.items())


def _buckets(gradients: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Lists of consecutive gradients of one dtype, with at most ``BUCKET_VALUES`` values or a single gradient."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        num_values = sum(other.numel() for other in bucket)
        if bucket and (gradient.dtype != bucket[0].dtype or num_values + gradient.numel() > BUCKET_VALUES):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
