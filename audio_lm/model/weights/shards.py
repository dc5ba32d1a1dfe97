"""What one rank holds of a tensor that is shared out, and the whole of it again.

Everything here also takes plain tensors, which every rank holds whole.

Source: DTensor of torch; its order of cuts where two meshes cut the same dimension.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate


def own_slice(whole: Tensor, like: Tensor) -> Tensor:
    """The slice of a whole tensor that this rank holds of ``like``; a view, nothing is sent.

    Of a tensor in a mapped file only the slice is read.
    """
    if not isinstance(like, DTensor):
        return whole
    mesh, coordinate = like.device_mesh, like.device_mesh.get_coordinate()
    assert coordinate is not None, "a rank outside the mesh holds nothing"
    # A strided cut is made after those of the mesh dimensions to its right.
    cuts = [one for one in zip(like.placements, range(mesh.ndim), strict=True) if one[0] != Replicate()]
    for placement, dimension in sorted(cuts, key=lambda cut: not cut[0].is_shard()):
        along = int(placement.dim)  # type: ignore[attr-defined]
        pieces = whole.chunk(mesh.size(dimension), dim=along)
        place = coordinate[dimension]
        whole = pieces[place] if place < len(pieces) else whole.narrow(along, 0, 0)
    return whole


@torch.no_grad()
def fill_slice(tensor: Tensor, whole: Tensor) -> None:
    """Copy a whole tensor's values into what this rank holds of it."""
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    local.copy_(own_slice(whole, tensor))


def whole_of(tensor: Tensor) -> Tensor:
    """The whole tensor on every rank of its mesh, all of which have to ask for it."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def num_copies(tensor: Tensor, num_ranks: int) -> int:
    """How many of all ranks hold the same values of a tensor."""
    if not isinstance(tensor, DTensor):
        return num_ranks
    mesh = tensor.device_mesh
    for placement, size in zip(tensor.placements, mesh.shape, strict=True):
        num_ranks //= 1 if placement == Replicate() else size
    return num_ranks


def outside(parameters: Mapping[str, nn.Parameter]) -> list[str]:
    """Names of parameters that are not shared out; one without values has nothing to share."""
    return [name for name, one in parameters.items() if one.numel() and not isinstance(one, DTensor)]
