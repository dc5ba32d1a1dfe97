import pytest
import torch

from audio_lm.training.compile import compile_layers, recompute_layers
from tests.devices import DEVICES, assert_near
from tests.training.tiny import PACKS, tiny


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


BACKENDS = {"cpu": "eager", "cuda": "inductor"}
"""A CPU would compile C++ for a minute."""


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
def test_on_each_device_compiled_layers_have_the_losses_of_others_in_bf16(device):
    results = []
    for is_compiled in (False, True):
        model = tiny("all").to(device)
        if is_compiled:
            compile_layers(model, backend=BACKENDS[device])
        with torch.autocast(device, torch.bfloat16):
            results.append(losses_and_gradients(model, [pack.to(device) for pack in PACKS]))
    torch._dynamo.reset()
    (plain, gradients), (compiled, others) = results
    assert compiled == pytest.approx(plain, rel=5e-3)
    for a, b in zip(others, gradients, strict=True):
        assert_near(a, b, 0.1)


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("is_half", [False, True])
def test_on_each_device_recomputed_layers_have_the_losses_of_others(device, is_half):
    results = []
    for parts in ([], ["encoder", "language_model"]):
        model = tiny("all").to(device)
        recompute_layers(model, parts)
        with torch.autocast(device, torch.bfloat16, enabled=is_half):
            results.append(losses_and_gradients(model, [pack.to(device) for pack in PACKS]))
    (plain, gradients), (recomputed, others) = results
    assert recomputed == plain
    # Kernels of a GPU add up gradients in any order.
    tolerance = {"cpu": 0.0, "cuda": 2e-2 if is_half else 1e-5}[device]
    for a, b in zip(others, gradients, strict=True):
        assert_near(a, b, tolerance)


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("part", ["encoder.layers.0", "language_model.model.layers.0"])
def test_the_branch_of_a_gpu_compiles_to_one_graph_for_two_lengths(part):
    """On the meta device, which takes it; with a graph break or a value that is read this raises."""
    model = tiny("all").bfloat16().to("meta")
    layer, graphs = model.get_submodule(part), []

    def record_graph(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(layer.forward, dynamic=True, fullgraph=True, backend=record_graph)
    width = next(layer.parameters()).shape[-1]
    for length in (70, 90, 110):
        states = torch.zeros(1, length, width, dtype=torch.bfloat16, device="meta", requires_grad=True)
        borders = torch.zeros(5, dtype=torch.int32, device="meta")
        options = {"cu_seq_lens_q": borders, "max_length_q": 128}
        if part.startswith("language_model"):
            positions = torch.zeros(1, length, dtype=torch.long, device="meta")
            embedded = model.language_model.model.rotary_emb(states, positions)
            out = compiled(states, position_embeddings=embedded, **options)
        else:
            out = compiled(states, None, **options)
        out = out[0] if isinstance(out, tuple) else out
        assert (out.shape, out.dtype) == (states.shape, torch.bfloat16)
        out.sum().backward()
        assert states.grad.shape == states.shape
    torch._dynamo.reset()
    assert 0 < len(graphs) <= 2
    assert any("varlen" in str(node) for graph in graphs for node in graph.graph.nodes)
