"""Local shards and full tensors of sharded parameters (DTensor).

All functions also accept plain tensors, which are complete on every rank.

Source: DTensor of torch, and its order of splits if two mesh dimensions split the same tensor dimension.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate


def local_slice(full: Tensor, like: Tensor) -> Tensor:
    """Slice of a full tensor that corresponds to this rank's shard of ``like``.

    The slice is a view; no communication. Of a tensor in a memory-mapped file only the slice is read.
    """
    if not isinstance(like, DTensor):
        return full
    mesh, coordinate = like.device_mesh, like.device_mesh.get_coordinate()
    assert coordinate is not None, "a rank outside the mesh has no shard"
    splits = [
        split for split in zip(like.placements, range(mesh.ndim), strict=True) if split[0] != Replicate()
    ]
    # A strided split is applied after those of the mesh dimensions to its right.
    for placement, mesh_dim in sorted(splits, key=lambda split: not split[0].is_shard()):
        dim = int(placement.dim)  # type: ignore[attr-defined]
        chunks = full.chunk(mesh.size(mesh_dim), dim=dim)
        index = coordinate[mesh_dim]
        full = chunks[index] if index < len(chunks) else full.narrow(dim, 0, 0)
    return full


@torch.no_grad()
def copy_to_local(tensor: Tensor, full: Tensor) -> None:
    """Copy the matching slice of a full tensor into this rank's shard."""
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    local.copy_(local_slice(full, tensor))


@torch.no_grad()
def add_to_local(tensor: Tensor, change: Tensor) -> None:
    """Add the matching slice of a full tensor to this rank's shard."""
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    local.add_(local_slice(change, tensor).to(local.device))


def full_tensor(tensor: Tensor) -> Tensor:
    """Gather the full tensor on every rank of its mesh; all of them must call this."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def num_copies(tensor: Tensor, num_ranks: int) -> int:
    """Number of ranks that hold the same values of a tensor."""
    if not isinstance(tensor, DTensor):
        return num_ranks
    mesh = tensor.device_mesh
    for placement, size in zip(tensor.placements, mesh.shape, strict=True):
        num_ranks //= 1 if placement == Replicate() else size
    return num_ranks


def unsharded_parameters(parameters: Mapping[str, nn.Parameter]) -> list[str]:
    """Names of parameters that are not sharded; empty parameters are ignored."""
    return [
        name
        for name, parameter in parameters.items()
        if parameter.numel() and not isinstance(parameter, DTensor)
    ]
