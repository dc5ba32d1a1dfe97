import pytest
import torch
from transformers import WhisperFeatureExtractor

from audio_lm.common.audio_units import frames_in
from audio_lm.model.encoders.log_mel import LogMel, mel_filters
from audio_lm.model.encoders.packed_layout import packed_layout
from tests.devices import DEVICES


@pytest.mark.parametrize("num_mels", [80, 128])
def test_filters_equal_those_of_hugging_face(num_mels):
    theirs = torch.from_numpy(WhisperFeatureExtractor(feature_size=num_mels).mel_filters)
    torch.testing.assert_close(mel_filters(num_mels), theirs.double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("num_mels", [80, 128])
def test_frames_equal_those_of_hugging_face(num_mels):
    generator = torch.Generator().manual_seed(0)
    waves = [
        torch.randn(n, generator=generator) * level for n, level in ((480, 0.1), (16_001, 1e-4), (7_999, 0.5))
    ]
    waves.append(torch.zeros(1_000))
    slots = packed_layout(tuple(map(len, waves)))
    rows = LogMel(num_mels)(torch.cat(waves), slots)
    clip = torch.from_numpy(slots.clip_of_row())
    extractor = WhisperFeatureExtractor(feature_size=num_mels)
    for number, wave in enumerate(waves):
        ours = rows[clip == number]
        theirs = torch.from_numpy(extractor(wave.numpy(), sampling_rate=16_000).input_features[0]).T
        torch.testing.assert_close(ours[1:], theirs[: len(ours) - 1], atol=2e-5, rtol=0)
        assert not ours[0].any(), "the first row of a slot must be empty"
        assert len(ours) - 1 > frames_in(len(wave)), (
            "the slot must have the frames that the convolutions read after the end"
        )


def test_a_loud_clip_does_not_change_its_neighbor():
    quiet, loud = torch.randn(4_000) * 1e-3, torch.randn(4_000)
    slots = packed_layout((4_000, 4_000))
    after_loud = LogMel(80)(torch.cat([quiet, loud]), slots)
    after_quiet = LogMel(80)(torch.cat([quiet, quiet]), slots)
    half = len(after_loud) // 2
    torch.testing.assert_close(after_loud[:half], after_quiet[:half], atol=1e-6, rtol=0)


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("num_mels", [80, 128])
def test_the_spectrogram_of_a_device_is_that_of_the_cpu(device, num_mels):
    generator = torch.Generator().manual_seed(0)
    waves = [
        torch.randn(n, generator=generator) * level
        for n, level in ((480, 0.1), (16_001, 1e-3), (480_000, 0.5))
    ]
    waves.append(torch.zeros(1_000))
    slots = packed_layout(tuple(map(len, waves)))
    exact = LogMel(num_mels)(torch.cat(waves).double(), slots)
    with torch.autocast(device, torch.bfloat16):
        rows = LogMel(num_mels)(torch.cat(waves).to(device), slots)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows.double().cpu(), exact, atol=5e-5, rtol=0)
