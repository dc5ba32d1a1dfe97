import pytest
import torch

from audio_lm.model.decoder.new_tokens import NewTokens, smooth_rows


def test_rows_are_looked_up_by_their_number():
    tokens = NewTokens(5, 4)
    assert torch.equal(tokens(torch.tensor([3, 0])), tokens.input[[3, 0]])
    hidden = torch.randn(2, 4)
    torch.testing.assert_close(tokens.logits(hidden), hidden @ tokens.output.T)


def test_neighbours_on_a_line_are_alike_and_far_ones_are_not():
    torch.manual_seed(0)
    rows = smooth_rows(3_001, 128)
    likeness = torch.nn.functional.cosine_similarity
    near = likeness(rows[:-1], rows[1:]).mean()
    far = likeness(rows[:-500], rows[500:]).mean()
    assert near > 0.9 > 0.5 > far
    assert rows.std() == pytest.approx(0.02, rel=0.1)


def test_initial_rows_must_fit():
    with pytest.raises(ValueError, match="expected"):
        NewTokens(5, 4, initial_VD=torch.zeros(4, 4))


def test_output_rows_may_all_start_from_one():
    row = torch.randn(4)
    tokens = NewTokens(5, 4, initial_VD=torch.randn(5, 4), output_D=row)
    assert torch.equal(tokens.output, row.expand(5, 4))
    assert not torch.equal(tokens.input[0], tokens.input[1])


def test_no_rows_are_zeros_and_have_gradients():
    tokens = NewTokens(0, 4)
    words = tokens(torch.tensor([-3, -1]))
    assert torch.equal(words, torch.zeros(2, 4))
    words.sum().backward()
    assert tokens.input.grad.shape == tokens.output.grad.shape == (0, 4)
