"""Weights that the pack of one rank does not use, such as experts nobody is sent to."""

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from audio_lm.model.weights.shards import full_tensor
from audio_lm.training.fsdp import new_mesh, set_gradient_sync, shard
from tests.forked import on_ranks, together

SETTING = "set_reduce_scatter_unused_params"


class Experts(nn.Module):
    """One of two for each pack, in a layer of its own and in the model itself."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.part = nn.ModuleDict({"layers": nn.ModuleList([Layer()])})
        self.last = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def loss(self, pack):
        heard = self.part["layers"][0](torch.full((1, 4), 1.0 + pack), pack)
        return self.last[pack % 2](heard).square().sum()


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, heard, pack):
        return self.experts[pack % 2](self.shared(heard)) + heard


def gradients(packs, ranks=1, *, is_stock=True):
    """Of one step over packs, whole."""
    model = Experts()
    if ranks > 1:
        if not is_stock:
            delattr(FSDPModule, SETTING)  # of this forked process
        mesh = new_mesh("cpu", num_groups=1, num_ranks=ranks)
        shard(model, mesh, trained=[name for name, _ in model.named_parameters()])
    for pack in packs:
        set_gradient_sync(model, is_last=pack == packs[-1])
        model.loss(pack).backward()
    return {name: full_tensor(one.grad).numpy().copy() for name, one in model.named_parameters()}


@pytest.mark.parametrize("packs", [((0,), (1,)), ((0, 2), (1, 3)), ((0, 1), (2, 4))])
@pytest.mark.parametrize("is_stock", [True, False])
def test_all_ranks_bring_a_gradient_for_them_or_zeros(packs, is_stock):
    if not hasattr(FSDPModule, SETTING):
        if is_stock:
            pytest.skip("this torch has none of its own")
        is_stock = True
    alone = gradients([pack for of_rank in packs for pack in of_rank])
    for seen in on_ranks(2, together(lambda number: gradients(packs[number], 2, is_stock=is_stock))):
        assert alone.keys() == seen.keys()
        for name, one in alone.items():
            torch.testing.assert_close(torch.tensor(seen[name]), torch.tensor(one), msg=name)
