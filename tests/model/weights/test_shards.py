import pytest
import torch
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor, init_device_mesh

from audio_lm.model.weights.shards import fill_slice, num_copies, outside, own_slice, whole_of
from audio_lm.training.fsdp import new_mesh, shard
from tests.forked import on_ranks, together
from tests.training.test_fsdp import tiny


def test_a_plain_tensor_is_its_own_slice():
    tensor = torch.arange(6.0)
    assert own_slice(tensor, torch.empty(6)) is tensor
    assert torch.equal(whole_of(tensor), tensor)
    assert num_copies(tensor, 4) == 4
    assert outside({"a": torch.nn.Parameter(tensor), "empty": torch.nn.Parameter(tensor[:0])}) == ["a"]


def _slices(number):
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"))
    found = []
    for rows in (1, 3, 5, 8):
        whole = torch.arange(rows * 4.0).reshape(rows, 4)
        for placements in ([Shard(0), Replicate()], [Replicate(), Shard(0)], [Shard(0), Shard(1)]):
            there = distribute_tensor(whole, mesh, placements)
            assert torch.equal(own_slice(whole, there), there.to_local()), (rows, placements)
            empty = distribute_tensor(torch.zeros_like(whole), mesh, placements)
            fill_slice(empty, whole)
            assert torch.equal(whole_of(empty), whole), (rows, placements)
            found.append(num_copies(there, 4))
    return found


def _cut_twice(number):
    """Columns are cut by tensor parallel first and then shared out."""
    model, twin = tiny("all"), tiny("all")
    shard(
        model,
        new_mesh("cpu", num_groups=1, num_ranks=4, tensor_parallel=2),
        trained=[name for name, _ in model.named_parameters()],
    )
    kinds = set()
    for (name, parameter), whole in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert isinstance(parameter, DTensor), name
        assert torch.equal(own_slice(whole, parameter), parameter.to_local()), name
        kinds.add((parameter.device_mesh.ndim, num_copies(parameter, 4)))
    return kinds


@pytest.mark.slow
def test_a_slice_is_what_torch_would_have_sent():
    assert on_ranks(4, together(_slices)) == [[2, 2, 1] * 4] * 4
    assert on_ranks(4, together(_cut_twice)) == [{(2, 1), (1, 2)}] * 4
