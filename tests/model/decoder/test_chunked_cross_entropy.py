import pytest
import torch
from torch import nn
from torch.nn import functional as F

from audio_lm.model.decoder.chunked_cross_entropy import next_token_loss
from tests.devices import DEVICES, assert_near

POSITIONS, WIDTH, ROWS = 23, 8, 40


def problem(dtype=torch.float32):
    torch.manual_seed(0)
    head = nn.Linear(WIDTH, ROWS, dtype=dtype)
    hidden = torch.randn(POSITIONS, WIDTH, dtype=dtype, requires_grad=True)
    return head, hidden, torch.randint(ROWS, (POSITIONS,))


def loss_of(head, hidden, labels, *, chunk, weight=1.0):
    return next_token_loss(
        head,
        list(head.parameters()),
        hidden,
        labels,
        num_rows=ROWS,
        weight=weight,
        chunk_values=chunk * ROWS,
    )


@pytest.mark.parametrize("chunk", [1, 5, POSITIONS, 100])
def test_chunks_of_any_size_give_the_same_loss_and_gradients(chunk):
    head, hidden, labels = problem(torch.float64)
    expected = F.cross_entropy(head(hidden).float(), labels, reduction="none")
    (expected.sum() * 0.25).backward()
    plain = [tensor.grad.clone() for tensor in (hidden, *head.parameters())]
    head, hidden, labels = problem(torch.float64)
    loss = loss_of(head, hidden, labels, chunk=chunk, weight=0.25)
    (2 * loss.total).backward()
    torch.testing.assert_close(loss.losses, expected.detach())
    torch.testing.assert_close(loss.total, expected.sum() * 0.25)
    for tensor, grad in zip((hidden, *head.parameters()), plain, strict=True):
        torch.testing.assert_close(tensor.grad, 2 * grad, rtol=1e-6, atol=1e-7)


def test_the_loss_of_equal_logits_is_the_log_of_the_vocabulary_size():
    head, hidden, labels = problem()
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    loss = loss_of(head, hidden, labels, chunk=4)
    torch.testing.assert_close(loss.losses, torch.full((POSITIONS,), float(ROWS)).log())
    assert not loss.losses.requires_grad


def test_at_most_one_chunk_of_logits_is_computed_at_a_time():
    head, hidden, labels = problem()
    chunk_sizes = []
    head.register_forward_hook(lambda module, inputs, output: chunk_sizes.append(len(output)))
    loss_of(head, hidden, labels, chunk=6)
    assert chunk_sizes == [6, 6, 6, 5]
    chunk_sizes.clear()
    with torch.no_grad():
        loss_of(head, hidden, labels, chunk=10)
    assert chunk_sizes == [10, 10, 3]


def test_a_frozen_output_layer_has_no_gradient_and_its_input_the_same_gradient():
    head, hidden, labels = problem()
    loss_of(head, hidden, labels, chunk=5).total.backward()
    frozen, again, _ = problem()
    frozen.requires_grad_(False)
    loss_of(frozen, again, labels, chunk=5).total.backward()
    assert torch.equal(again.grad, hidden.grad)
    assert frozen.weight.grad is None
    assert head.weight.grad is not None


def test_the_loss_needs_no_gradient_if_nothing_is_trained():
    head, hidden, labels = problem()
    head.requires_grad_(False)
    loss = loss_of(head, hidden.detach(), labels, chunk=5)
    assert not loss.total.requires_grad


def test_without_learned_positions_loss_and_gradients_are_zero():
    head, hidden, _ = problem()
    loss = loss_of(head, hidden[:0], torch.zeros(0, dtype=torch.long), chunk=5)
    loss.total.backward()
    assert loss.total == 0
    assert not hidden.grad.any()
    assert not head.weight.grad.any()


def test_softmax_and_loss_are_in_32_bits_for_logits_in_16_bits():
    head, hidden, labels = problem(torch.bfloat16)
    loss = loss_of(head, hidden, labels, chunk=5)
    exact = F.cross_entropy(head(hidden).float(), labels, reduction="none")
    coarse = F.cross_entropy(head(hidden), labels, reduction="none")
    torch.testing.assert_close(loss.losses, exact)
    assert (coarse.float() - exact).norm() > 100 * (loss.losses - exact).norm()
    loss.total.backward()
    gradient = hidden.grad.clone()
    hidden.grad = None
    exact.sum().backward()
    torch.testing.assert_close(gradient, hidden.grad, rtol=2e-2, atol=2e-2)


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("chunk", [5, 100])
def test_loss_and_gradients_of_a_device_are_those_of_torch(device, dtype, tolerance, chunk):
    head, hidden, labels = problem()
    head, hidden = head.to(dtype).double(), hidden.detach().to(dtype).double().requires_grad_()
    expected = F.cross_entropy(head(hidden), labels, reduction="none")
    (expected.sum() * 0.25).backward()
    exact = [hidden.grad, *(parameter.grad.clone() for parameter in head.parameters())]
    head.zero_grad()
    head, hidden = head.to(device, dtype), hidden.detach().to(device, dtype).requires_grad_()
    loss = loss_of(head, hidden, labels.to(device), chunk=chunk, weight=0.25)
    loss.total.backward()
    assert loss.losses.dtype == torch.float32
    # The loss of logits rounded to 16 bits.
    assert_near(loss.losses, expected, tolerance)
    for parameter, gradient in zip((hidden, *head.parameters()), exact, strict=True):
        assert_near(parameter.grad, gradient, tolerance)
