import pytest
import torch

from audio_lm.common.audio_units import frames_in
from audio_lm.model.encoders.packed_layout import packed_layout
from audio_lm.model.encoders.spec_augment import apply_spec_augment
from tests.devices import DEVICES

UNCHANGED = [0, 0, 0, 0, 0, 0]


@pytest.fixture
def slots():
    return packed_layout((8_000, 4_321))


@pytest.fixture
def mels(slots):
    return torch.randn(len(slots.clip_of_row()), 80, generator=torch.Generator().manual_seed(0))


def test_empty_masks_and_warps_change_nothing(mels, slots):
    assert torch.equal(apply_spec_augment(mels, slots, torch.tensor([UNCHANGED, [10, 10, 5, 0, 3, 0]])), mels)


def test_masked_cells_have_the_mean_of_the_clip_and_others_do_not_change(mels, slots):
    out = apply_spec_augment(mels, slots, torch.tensor([[0, 0, 10, 5, 20, 4], UNCHANGED]))
    frames = mels[1 : 1 + frames_in(8_000)]
    changed = out[1 : 1 + frames_in(8_000)]
    torch.testing.assert_close(changed[:, 10:15], frames.mean().expand_as(changed[:, 10:15]))
    torch.testing.assert_close(changed[20:24], frames.mean().expand_as(changed[20:24]))
    assert torch.equal(changed[:20, :10], frames[:20, :10])
    assert torch.equal(out[1 + frames_in(8_000) :], mels[1 + frames_in(8_000) :])
    assert torch.equal(out[0], mels[0])


def test_a_warp_moves_one_frame_to_another_and_keeps_the_ends(mels, slots):
    out = apply_spec_augment(mels, slots, torch.tensor([[20, 30, 0, 0, 0, 0], UNCHANGED]))
    torch.testing.assert_close(out[1 + 30], mels[1 + 20])
    torch.testing.assert_close(out[1], mels[1])
    torch.testing.assert_close(out[frames_in(8_000)], mels[frames_in(8_000)])


def test_one_row_per_clip_is_expected(mels, slots):
    with pytest.raises(ValueError, match="one row of 6"):
        apply_spec_augment(mels, slots, torch.tensor([UNCHANGED]))


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
def test_masks_and_warps_of_a_device_are_those_of_the_cpu(device, mels, slots):
    augment = torch.tensor([[20, 30, 10, 5, 20, 4], [7, 5, 0, 27, 3, 9]])
    exact = apply_spec_augment(mels.double(), slots, augment)
    out = apply_spec_augment(mels.to(device), slots, augment.to(device))
    torch.testing.assert_close(out.double().cpu(), exact, atol=1e-5, rtol=0)
    assert torch.equal(out.cpu() == mels, exact == mels.double()), "the same cells change"
