import pytest
import torch
from transformers import Qwen2AudioEncoderConfig, WhisperFeatureExtractor
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder

from audio_lm.common.audio_units import MAX_SAMPLES, frames_in, tokens_in
from audio_lm.model.encoders.layout_index import FlatIndex, flat_index
from audio_lm.model.encoders.whisper import AudioEncoder
from tests.devices import DEVICES, assert_near

EDGES = (321, 480, 481, 640, 641, 799, 800, 801, 960, 1_600, 1_601, 16_000, 16_123, 47_999)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-6}


def pair(dtype, num_mels=80):
    """Hugging Face's encoder and ours with the same random weights and biases."""
    torch.manual_seed(0)
    shape = {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 96}
    config = Qwen2AudioEncoderConfig(num_mel_bins=num_mels, **shape)
    config._attn_implementation = "sdpa"
    theirs = Qwen2AudioEncoder(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    ours = AudioEncoder(num_mels=num_mels, width=64, num_layers=2, num_heads=4, mlp_width=96).eval()
    weights = theirs.state_dict()
    theirs.embed_positions.weight.data.copy_(ours.embed_positions.weight)
    ours.load_state_dict(
        {name: value for name, value in weights.items() if not name.startswith("embed")}, strict=False
    )
    return theirs.to(dtype), ours.to(dtype)


def encode_with_hugging_face(theirs, waves, num_mels, dtype):
    """Valid tokens of each clip, padded to 30 s and masked like in its processor and model."""
    extractor = WhisperFeatureExtractor(feature_size=num_mels)
    tokens = []
    for wave in waves:
        features = extractor(
            wave.double().numpy(), sampling_rate=16_000, return_tensors="pt", return_attention_mask=True
        )
        num_frames = int(features["attention_mask"].sum())
        num_conv = (num_frames - 1) // 2 + 1
        mask = torch.zeros(1, 1, 1_500, 1_500, dtype=dtype)
        mask[..., num_conv:] = float("-inf")
        with torch.no_grad():
            states = theirs(features["input_features"].to(dtype), attention_mask=mask).last_hidden_state[0]
        tokens.append(states[: tokens_in(num_frames)])
    return torch.cat(tokens)


def clips(lengths):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(length, generator=generator) * (0.3 if i % 2 else 0.01)
        for i, length in enumerate(lengths)
    ]


@pytest.mark.parametrize("num_mels", [80, 128])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_token_equals_that_of_hugging_face(dtype, num_mels):
    theirs, ours = pair(dtype, num_mels)
    waves = clips(EDGES)
    expected = encode_with_hugging_face(theirs, waves, num_mels, dtype)
    with torch.no_grad():
        got = ours(torch.cat(waves).to(torch.float32), tuple(map(len, waves))).to(dtype)
        if dtype == torch.float64:
            # Hugging Face's feature extractor is in single precision, so both encoders get our spectrogram.
            expected, got = _from_same_mels(theirs, ours, waves, num_mels)
    scale = expected.abs().max().clamp(min=1.0)
    torch.testing.assert_close(got / scale, expected / scale, atol=TOLERANCE[dtype], rtol=0)


def _from_same_mels(theirs, ours, waves, num_mels):
    """Tokens of both encoders from our log-mel, padded to 30 s for Hugging Face's."""
    from audio_lm.model.encoders.packed_layout import packed_layout

    slots = packed_layout(tuple(map(len, waves)))
    rows = ours.log_mel(torch.cat(waves).double(), slots)
    got = ours.encode(rows, slots)
    expected, start = [], 0
    clip = torch.from_numpy(slots.clip_of_row())
    for number, wave in enumerate(waves):
        log_mel = rows[clip == number][1:]
        silence = log_mel.min()
        features = torch.full((1, num_mels, 3_000), float(silence), dtype=torch.float64)
        features[0, :, : len(log_mel)] = log_mel.T
        num_frames = frames_in(len(wave))
        mask = torch.zeros(1, 1, 1_500, 1_500, dtype=torch.float64)
        mask[..., (num_frames - 1) // 2 + 1 :] = float("-inf")
        states = theirs(features, attention_mask=mask).last_hidden_state[0]
        expected.append(states[: tokens_in(num_frames)])
        start += len(expected[-1])
    assert start == len(got)
    return torch.cat(expected), got


@pytest.mark.slow
@pytest.mark.parametrize("num_samples", [MAX_SAMPLES - 201, MAX_SAMPLES - 100, MAX_SAMPLES])
def test_thirty_seconds_equal_those_of_hugging_face(num_samples):
    theirs, ours = pair(torch.float32)
    (wave,) = clips([num_samples])
    expected = encode_with_hugging_face(theirs, [wave], 80, torch.float32)
    with torch.no_grad():
        got = ours(wave, (num_samples,))
    scale = expected.abs().max().clamp(min=1.0)
    torch.testing.assert_close(got / scale, expected / scale, atol=5e-6, rtol=0)


def test_tokens_of_a_clip_do_not_depend_on_other_clips():
    _, ours = pair(torch.float32)
    waves = clips((3_000, 8_000, 1_234))
    with torch.no_grad():
        together = ours(torch.cat(waves), tuple(map(len, waves)))
        alone = torch.cat([ours(wave, (len(wave),)) for wave in waves])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("num_samples", [1, 320, MAX_SAMPLES + 1])
def test_clips_of_unsupported_lengths_are_refused(num_samples):
    _, ours = pair(torch.float32)
    with pytest.raises(ValueError, match="do not fit the encoder"):
        ours(torch.zeros(num_samples), (num_samples,))


def test_positions_have_no_parameters():
    _, ours = pair(torch.float32)
    assert not [name for name, _ in ours.named_parameters() if "positions" in name]


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 3e-2)])
def test_on_each_device_tokens_equal_those_of_hugging_face_on_the_cpu(device, dtype, tolerance):
    theirs, ours = pair(torch.float32)
    waves = clips(EDGES)
    expected = encode_with_hugging_face(theirs, waves, 80, torch.float32)
    num_samples = tuple(map(len, waves))
    layout = flat_index(num_samples)
    layout = FlatIndex(layout.values.to(device), layout.sizes)
    with torch.no_grad():
        got = ours.to(device, dtype)(torch.cat(waves).to(device), num_samples, None, layout)
    assert (got.dtype, got.device.type) == (dtype, device)
    assert_near(got, expected, tolerance)
