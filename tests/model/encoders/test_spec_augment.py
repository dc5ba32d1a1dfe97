import numpy as np
import pytest
import torch

from audio_lm.common.audio_units import frames_in
from audio_lm.data.augment import spec_augment_row
from audio_lm.data.config import SpecAugmentConfig
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


@pytest.mark.parametrize("seed", range(10))
def test_every_frame_is_interpolated_as_numpy_does_and_masked(mels, slots, seed):
    """Of rows as the data workers draw them; the warp is linear up to its point and from there to the last frame."""
    rng, policy = (
        np.random.default_rng(seed),
        SpecAugmentConfig(time_warp=20, frequency_width=9, time_width=12),
    )
    augment = [spec_augment_row(policy, num_frames=count, num_mels=80, rng=rng) for count in slots.num_frames]
    out = apply_spec_augment(mels.double(), slots, torch.tensor(augment)).numpy()
    for start, count, row in zip(slots.starts, slots.num_frames, augment, strict=True):
        warp_from, warp_to, band, band_width, time, time_width = row
        frames, places = mels[start + 1 : start + 1 + count].double().numpy(), np.arange(count)
        source = np.interp(places, [0, warp_to, count - 1], [0, warp_from, count - 1])
        expected = np.stack([np.interp(source, places, each) for each in frames.T], axis=1)
        mean = expected.mean()
        expected[:, band : band + band_width] = expected[time : time + time_width] = mean
        np.testing.assert_allclose(out[start + 1 : start + 1 + count], expected, atol=5e-5)
