import pytest
import torch

from audio_lm.training.compile import compile_layers, recompute_layers
from tests.training.test_fsdp import PACKS, tiny


def losses_and_gradients(model, packs=PACKS):
    losses = [model.loss(pack).total for pack in packs]
    sum(losses).backward()
    return [float(loss) for loss in losses], [parameter.grad for parameter in model.parameters()]


def num_stored_values(model):
    """Number of values that the forward pass of one pack stores for the backward pass."""
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        model(PACKS[0])
    return sum(sizes)


def test_recomputed_layers_give_bit_equal_results_and_store_less():
    plain, recomputed = tiny("all"), tiny("all")
    names = list(recomputed.state_dict())
    recompute_layers(recomputed, ["encoder", "language_model"])
    assert list(recomputed.state_dict()) == names
    assert num_stored_values(recomputed) < 0.7 * num_stored_values(plain)
    for model in (plain, recomputed):
        model.zero_grad()
    losses, gradients = losses_and_gradients(plain)
    other_losses, other_gradients = losses_and_gradients(recomputed)
    assert losses == other_losses
    assert all(torch.equal(a, b) for a, b in zip(gradients, other_gradients, strict=True))


def test_only_layers_of_the_given_parts_are_recomputed():
    plain, recomputed = tiny("all"), tiny("all")
    recompute_layers(recomputed, ["projector"])
    assert num_stored_values(recomputed) == num_stored_values(plain)


@pytest.mark.slow
def test_compiled_layers_give_the_same_results_and_all_lengths_share_a_few_graphs():
    plain, compiled = tiny("all"), tiny("all")
    names, graphs = list(compiled.state_dict()), []

    def record_graph(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compile_layers(compiled, backend=record_graph)
    assert list(compiled.state_dict()) == names
    losses, gradients = losses_and_gradients(plain)
    other_losses, other_gradients = losses_and_gradients(compiled)
    assert losses == pytest.approx(other_losses, rel=1e-6)
    for a, b in zip(gradients, other_gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    num_graphs = len(graphs)
    assert 0 < num_graphs <= 8
    with torch.no_grad():
        compiled(PACKS[0])
    assert len(graphs) == num_graphs
