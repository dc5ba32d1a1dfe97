import pytest
import torch
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor, init_device_mesh

from audio_lm.model.weights.shards import (
    copy_to_local,
    full_tensor,
    local_slice,
    num_copies,
    unsharded_parameters,
)
from audio_lm.training.fsdp import new_mesh, shard
from tests.forked import on_ranks, together
from tests.training.tiny import tiny


def test_the_slice_of_a_plain_tensor_is_the_tensor():
    tensor = torch.arange(6.0)
    assert local_slice(tensor, torch.empty(6)) is tensor
    assert torch.equal(full_tensor(tensor), tensor)
    assert num_copies(tensor, 4) == 4
    assert unsharded_parameters(
        {"a": torch.nn.Parameter(tensor), "empty": torch.nn.Parameter(tensor[:0])}
    ) == ["a"]


def _slices(number):
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"))
    copies = []
    for rows in (1, 3, 5, 8):
        full = torch.arange(rows * 4.0).reshape(rows, 4)
        for placements in ([Shard(0), Replicate()], [Replicate(), Shard(0)], [Shard(0), Shard(1)]):
            sharded = distribute_tensor(full, mesh, placements)
            assert torch.equal(local_slice(full, sharded), sharded.to_local()), (rows, placements)
            empty = distribute_tensor(torch.zeros_like(full), mesh, placements)
            copy_to_local(empty, full)
            assert torch.equal(full_tensor(empty), full), (rows, placements)
            copies.append(num_copies(sharded, 4))
    return copies


def _split_twice(number):
    """Weights split by tensor parallelism first and then by FSDP."""
    model, twin = tiny("all"), tiny("all")
    shard(
        model,
        new_mesh("cpu", num_groups=1, num_ranks=4, tensor_parallel=2),
        trained=[name for name, _ in model.named_parameters()],
    )
    kinds = set()
    for (name, parameter), full in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert isinstance(parameter, DTensor), name
        assert torch.equal(local_slice(full, parameter), parameter.to_local()), name
        kinds.add((parameter.device_mesh.ndim, num_copies(parameter, 4)))
    return kinds


@pytest.mark.slow
def test_slices_equal_the_local_shards_of_torch():
    assert on_ranks(4, together(_slices)) == [[2, 2, 1] * 4] * 4
    assert on_ranks(4, together(_split_twice)) == [{(2, 1), (1, 2)}] * 4
