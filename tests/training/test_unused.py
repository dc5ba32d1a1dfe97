"""Gradients of weights that the pack of a rank does not use, such as experts without tokens."""

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from audio_lm.model.weights.shards import full_tensor
from audio_lm.training.fsdp import new_mesh, set_gradient_sync, shard
from tests.forked import on_ranks, together

SETTING = "set_reduce_scatter_unused_params"


class Experts(nn.Module):
    """One of two experts for each pack, in a layer and in the model itself."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.part = nn.ModuleDict({"layers": nn.ModuleList([Layer()])})
        self.last = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def loss(self, pack):
        hidden = self.part["layers"][0](torch.full((1, 4), 1.0 + pack), pack)
        return self.last[pack % 2](hidden).square().sum()


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, hidden, pack):
        return self.experts[pack % 2](self.shared(hidden)) + hidden


def gradients(packs, ranks=1, *, is_stock=True):
    """Full gradients of one step over packs."""
    model = Experts()
    if ranks > 1:
        if not is_stock:
            delattr(FSDPModule, SETTING)  # in this forked process only
        mesh = new_mesh("cpu", num_groups=1, num_ranks=ranks)
        shard(model, mesh, trained=[name for name, _ in model.named_parameters()])
    for pack in packs:
        set_gradient_sync(model, is_last=pack == packs[-1])
        model.loss(pack).backward()
    return {name: full_tensor(parameter.grad).numpy().copy() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("packs", [((0,), (1,)), ((0, 2), (1, 3)), ((0, 1), (2, 4))])
@pytest.mark.parametrize("is_stock", [True, False])
def test_ranks_reduce_zeros_for_weights_that_their_pack_does_not_use(packs, is_stock):
    if not hasattr(FSDPModule, SETTING):
        if is_stock:
            pytest.skip("this torch has no such setting")
        is_stock = True
    expected = gradients([pack for of_rank in packs for pack in of_rank])
    for found in on_ranks(2, together(lambda number: gradients(packs[number], 2, is_stock=is_stock))):
        assert expected.keys() == found.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(torch.tensor(found[name]), torch.tensor(gradient), msg=name)
