import pytest
import torch

from audio_lm.model.decoder.new_tokens import NewTokens, smooth_rows
from tests.devices import DEVICES, assert_near


def test_rows_are_looked_up_by_index():
    tokens = NewTokens(5, 4)
    assert torch.equal(tokens(torch.tensor([3, 0])), tokens.input[[3, 0]])
    hidden = torch.randn(2, 4)
    torch.testing.assert_close(tokens.logits(hidden), hidden @ tokens.output.T)


def test_smooth_rows_are_similar_to_their_neighbors_only():
    torch.manual_seed(0)
    rows = smooth_rows(3_001, 128)
    similarity = torch.nn.functional.cosine_similarity
    near = similarity(rows[:-1], rows[1:]).mean()
    far = similarity(rows[:-500], rows[500:]).mean()
    assert near > 0.9 > 0.5 > far
    assert rows.std() == pytest.approx(0.02, rel=0.1)


def test_initial_rows_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="expected"):
        NewTokens(5, 4, initial_VD=torch.zeros(4, 4))


def test_all_output_rows_can_start_from_the_same_row():
    row = torch.randn(4)
    tokens = NewTokens(5, 4, initial_VD=torch.randn(5, 4), output_D=row)
    assert torch.equal(tokens.output, row.expand(5, 4))
    assert not torch.equal(tokens.input[0], tokens.input[1])


def test_empty_tables_give_zeros_and_have_gradients():
    tokens = NewTokens(0, 4)
    words = tokens(torch.tensor([-3, -1]))
    assert torch.equal(words, torch.zeros(2, 4))
    words.sum().backward()
    assert tokens.input.grad.shape == tokens.output.grad.shape == (0, 4)


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_rows_logits_and_gradients_of_a_device_are_those_of_the_cpu(device, dtype, tolerance):
    tokens, hidden = NewTokens(7, 16), torch.randn(5, 16)
    ids = torch.tensor([3, -2, 0, 3, 6])
    on_device = NewTokens(7, 16, initial_VD=tokens.input.detach()).to(device, dtype)
    on_device.output.data.copy_(tokens.output)
    values = []
    for module in (tokens, on_device):
        states = hidden.to(module.input.device, module.input.dtype)
        rows, logits = module(ids.to(states.device)), module.logits(states)
        (rows.float().square().sum() + logits.float().square().sum()).backward()
        values.append((rows, logits, module.input.grad, module.output.grad))
    for ours, exact in zip(values[1], values[0], strict=True):
        assert_near(ours, exact, tolerance)
