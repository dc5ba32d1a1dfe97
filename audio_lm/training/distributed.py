"""Ranks that learn together: each hears its own packs, gradients are added up once a step.

Stock data-parallel wrapping hooks every backward, so it waits for parameters a rank
has not used and never hears of those that thaw later. Here every rank adds up the same
list of gradients after its last pack, whatever was in it. Where the model is shared out
(see ``sharding``), its own hooks do that, and lengths and counts are added up here all the same.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from audio_lm.common.runtime import world_size
from audio_lm.model.weights.shards import num_copies

BUCKET = 1 << 25  # values that travel together; a second copy of so many is made
Item = TypeVar("Item")


class TokenSumDDPStrategy(DDPStrategy):
    """Lightning's processes and devices, its wrapper around the model left out."""

    def configure_ddp(self) -> None:
        """Begin everywhere with the weights of the first rank."""
        for value in self.model.state_dict().values():
            torch.distributed.broadcast(value, src=0)


class FSDP2Strategy(ModelParallelStrategy):
    """Lightning's processes and devices for a model that is shared out already.

    Args:
        mesh: of ``sharding.new_mesh``.
        cpu_offload: what is shared out lies on the CPU and stays there.
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
        """Take the mesh there is; the stock strategy opens new groups of processes for every stage."""
        self._setup_distributed()
        self._device_mesh = self.mesh

    def model_to_device(self) -> None:
        """Leave what is offloaded where it is."""
        if not self.cpu_offload:
            super().model_to_device()


def all_reduce_sum(*values: float) -> list[float]:
    """Each value added up over the ranks."""
    if world_size() == 1:
        return list(values)
    totals = torch.tensor(values, dtype=torch.float64)
    torch.distributed.all_reduce(totals)
    return list(totals.tolist())


def all_gather_object(item: Item, *, tensor_parallel: int = 1) -> list[Item]:
    """What every rank has, in the order of ranks.

    Args:
        tensor_parallel: neighbouring ranks that hear the same, of which one counts.
    """
    if world_size() == 1:
        return [item]
    items: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(items, item)
    return items[::tensor_parallel]


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up over the ranks what is not shared out; a parameter that no rank has used keeps none."""
    if world_size() == 1:
        return
    learning = [one for one in parameters if one.requires_grad and not isinstance(one, DTensor)]
    if not learning:
        return
    users = all_reduce_sum(*(float(parameter.grad is not None) for parameter in learning))
    gradients = []
    for parameter, count in zip(learning, users, strict=True):
        if count:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        torch.distributed.all_reduce(flat)
        for gradient, total in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
            gradient.copy_(total.view_as(gradient))


def gradient_norm(parameters: Iterable[nn.Parameter]) -> float:
    """Length of the whole gradient, of all parts and all ranks, where every rank finds the same number.

    Neither finite nor equal to anything as soon as one value on one rank is not finite.
    """
    squares = torch.zeros((), dtype=torch.float64)
    for gradients, copies in _alike(parameters):
        norms = torch.stack(torch._foreach_norm(gradients)).double()
        squares += norms.square().sum().cpu() / copies
    if world_size() > 1:
        torch.distributed.all_reduce(squares)
    return math.sqrt(squares) if squares.isfinite() else math.nan


def scale_gradients(parameters: Iterable[nn.Parameter], factor: float) -> None:
    """Multiply all gradients, shared out or not."""
    for gradients, _ in _alike(parameters):
        torch._foreach_mul_(gradients, factor)


def _alike(parameters: Iterable[nn.Parameter]) -> Iterator[tuple[list[Tensor], int]]:
    """What this rank holds of the gradients, with those that equally many ranks hold as well."""
    of_copies: dict[tuple[int, torch.device], list[Tensor]] = {}
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None:
            local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
            of_copies.setdefault((num_copies(gradient, world_size()), local.device), []).append(local)
    yield from ((gradients, copies) for (copies, _), gradients in of_copies.items())


def _buckets(gradients: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one type, about as many values as a bucket holds."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        num_values = sum(one.numel() for one in bucket)
        if bucket and (gradient.dtype != bucket[0].dtype or num_values + gradient.numel() > BUCKET):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
