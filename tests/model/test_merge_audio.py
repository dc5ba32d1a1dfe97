import pytest
import torch

from audio_lm.model.merge_audio import merge_audio


def test_gradients_flow_to_text_and_audio():
    text, audio = torch.randn(5, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    out = merge_audio(text, audio, torch.tensor([1, 3]))
    assert torch.equal(out[[1, 3]], audio)
    assert torch.equal(out[[0, 2, 4]], text[[0, 2, 4]])
    out.sum().backward()
    assert text.grad[[1, 3]].eq(0).all()
    assert audio.grad.eq(1).all()


def test_every_audio_token_needs_one_position():
    with pytest.raises(ValueError, match="2 audio tokens for 1 positions"):
        merge_audio(torch.zeros(5, 3), torch.zeros(2, 3), torch.tensor([1]))
