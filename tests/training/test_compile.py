import pytest
import torch

from audio_lm.training.compile import compile_layers, recompute_layers
from tests.training.test_fsdp import PACKS, tiny


def learned(model, packs=PACKS):
    losses = [model.loss(pack).total for pack in packs]
    sum(losses).backward()
    return [float(loss) for loss in losses], [parameter.grad for parameter in model.parameters()]


def kept_by(model):
    """Values that one pack leaves behind for the backward pass."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda one: kept.append(one.numel()) or one, lambda one: one
    ):
        model(PACKS[0])
    return sum(kept)


def test_layers_computed_again_give_the_same_bits_and_keep_less():
    plain, again = tiny("all"), tiny("all")
    names = list(again.state_dict())
    recompute_layers(again, ["encoder", "language_model"])
    assert list(again.state_dict()) == names
    assert kept_by(again) < 0.7 * kept_by(plain)
    for model in (plain, again):
        model.zero_grad()
    one, other = learned(plain), learned(again)
    assert one[0] == other[0]
    assert all(torch.equal(a, b) for a, b in zip(one[1], other[1], strict=True))


def test_only_layers_of_the_parts_that_were_named_are_computed_again():
    plain, again = tiny("all"), tiny("all")
    recompute_layers(again, ["projector"])
    assert kept_by(again) == kept_by(plain)


@pytest.mark.slow
def test_compiled_layers_give_the_same_and_all_lengths_share_a_few_graphs():
    plain, compiled = tiny("all"), tiny("all")
    names, num_graphs = list(compiled.state_dict()), []

    def count(graph, inputs):
        num_graphs.append(1)
        return graph.forward

    compile_layers(compiled, backend=count)
    assert list(compiled.state_dict()) == names
    one, other = learned(plain), learned(compiled)
    assert one[0] == pytest.approx(other[0], rel=1e-6)
    for a, b in zip(one[1], other[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert 0 < len(num_graphs) <= 8
    before = len(num_graphs)
    with torch.no_grad():
        compiled(PACKS[0])
    assert len(num_graphs) == before
