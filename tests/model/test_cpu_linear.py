"""Linear layers by oneDNN: results and gradients of torch's layer, in every case where they are used."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from audio_lm.model import cpu_linear
from audio_lm.model.cpu_linear import MIN_PRODUCTS, CpuLinear, is_onednn_faster, linear, use_onednn

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN"
)
ROWS, INPUTS, OUTPUTS = 301, 96, 641  # above the threshold, and multiples of no vector width


@pytest.fixture
def everywhere(monkeypatch):
    """Use oneDNN on any CPU."""
    monkeypatch.setattr(cpu_linear, "is_onednn_faster", lambda: True)


def calls_of(monkeypatch):
    calls = []
    original = cpu_linear.compat.onednn_linear
    monkeypatch.setattr(
        cpu_linear.compat, "onednn_linear", lambda *args: (calls.append(args), original(*args))[1]
    )
    return calls


def inputs_of(shape, *, bias=True):
    generator = torch.Generator().manual_seed(0)
    sizes = (shape, (OUTPUTS, INPUTS), *([(OUTPUTS,)] if bias else []))
    return [torch.randn(size, generator=generator, requires_grad=True) for size in sizes]


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(ROWS, INPUTS), (1, ROWS, INPUTS)], ids=["rows", "batch"])
def test_values_and_gradients_are_those_of_torch(monkeypatch, everywhere, shape, bias):
    calls = calls_of(monkeypatch)
    ours, theirs = inputs_of(shape, bias=bias), inputs_of(shape, bias=bias)
    output, expected = linear(*ours), F.linear(*theirs)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (output * weights).sum().backward()
    (expected * weights).sum().backward()
    assert len(calls) == 3, "forward, and both gradients"
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-4)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-3)


@needs_onednn
def test_a_frozen_weight_gets_no_gradient_and_costs_no_product(monkeypatch, everywhere):
    calls = calls_of(monkeypatch)
    input, weight, bias = inputs_of((ROWS, INPUTS))
    linear(input, weight.detach(), bias.detach()).sum().backward()
    assert input.grad is not None
    assert weight.grad is None
    assert len(calls) == 2


@needs_onednn
@pytest.mark.parametrize(("trained", "expected"), [("input", [1]), ("weight", [0])])
def test_only_what_a_gradient_needs_is_saved(everywhere, trained, expected):
    input, weight, bias = (tensor.detach() for tensor in inputs_of((ROWS, INPUTS)))
    {"input": input, "weight": weight}[trained].requires_grad_()
    saved = []

    def keep(tensor):
        saved.append(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        linear(input, weight, bias)
    assert saved == [[input, weight][index].data_ptr() for index in expected]


@needs_onednn
def test_equal_inputs_give_equal_bits_at_any_address(everywhere):
    input, weight, bias = inputs_of((ROWS, INPUTS))
    shifted = torch.cat([torch.zeros(3), input.detach().flatten()])[3:].view(input.shape)
    assert torch.equal(linear(input, weight, bias), linear(shifted, weight, bias))


@pytest.mark.parametrize("case", ["small", "double", "half", "autocast", "switched off", "compiled", "fake"])
def test_other_cases_are_left_to_torch(monkeypatch, everywhere, case):
    calls = calls_of(monkeypatch)
    input, weight, bias = (tensor.detach() for tensor in inputs_of((ROWS, INPUTS)))
    if case == "small":
        input = input[: MIN_PRODUCTS // weight.numel() - 1]
    elif case in ("double", "half"):
        dtype = torch.float64 if case == "double" else torch.bfloat16
        input, weight, bias = input.to(dtype), weight.to(dtype), bias.to(dtype)
    elif case == "switched off":
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    elif case == "compiled":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    elif case == "fake":
        input, weight, bias = (tensor.to("meta") for tensor in (input, weight, bias))
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        output, expected = linear(input, weight, bias), F.linear(input, weight, bias)
    assert not calls
    assert output.dtype == expected.dtype
    assert case == "fake" or torch.equal(output, expected)


def test_layers_keep_names_weights_and_subclasses(everywhere):
    class Other(nn.Linear):
        """A layer of somebody else."""

    model = nn.ModuleDict({"own": nn.Linear(4, 3), "other": Other(4, 3)})
    before = {name: value.data_ptr() for name, value in model.state_dict().items()}
    use_onednn(model)
    assert {name: value.data_ptr() for name, value in model.state_dict().items()} == before
    assert type(model["own"]) is CpuLinear
    assert type(model["other"]) is Other
    input = torch.randn(2, 4)
    assert torch.equal(model["own"](input), F.linear(input, model["own"].weight, model["own"].bias))


@pytest.mark.parametrize(
    ("vendor", "capability", "expected"),
    [
        ("AuthenticAMD", "AVX512", True),
        ("AuthenticAMD", "AVX2", False),
        ("GenuineIntel", "AVX512", False),
        ("", "DEFAULT", False),
    ],
)
def test_only_a_processor_whose_vectors_torch_leaves_unused_changes(
    monkeypatch, vendor, capability, expected
):
    monkeypatch.setattr(cpu_linear, "_vendor", lambda: vendor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    is_onednn_faster.cache_clear()
    assert is_onednn_faster() == (expected and torch.backends.mkldnn.is_available())
    is_onednn_faster.cache_clear()
    model = nn.Sequential(nn.Linear(2, 2))
    use_onednn(model)
    assert (type(model[0]) is CpuLinear) == (expected and torch.backends.mkldnn.is_available())
    is_onednn_faster.cache_clear()
