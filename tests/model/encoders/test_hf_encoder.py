import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from audio_lm.common.errors import CheckpointError
from audio_lm.model.config import EncoderConfig
from audio_lm.model.encoders.hf_encoder import filter_bank, new_speech_encoder
from audio_lm.model.encoders.hf_settings import ARCHITECTURES, DISABLED

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
WAVES = SMALL | {
    "conv_dim": [16] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}
BANDS = SMALL | {
    "feature_projection_input_dim": 160,
    "conv_depthwise_kernel_size": 5,
    "output_hidden_size": 32,
}
KINDS = [(name, BANDS if name == "wav2vec2-bert" else WAVES) for name in ARCHITECTURES]
KINDS += [("wavlm", WAVES | {"do_stable_layer_norm": False})]
KINDS += [(name, WAVES | {"feat_extract_norm": "group"}) for name in ("wavlm", "hubert")]
LENGTHS = (8_000, 321, 16_000, 9_999, 560, 8_123)


def config_of(kind):
    return EncoderConfig(kind="transformers", architecture=kind[0], settings=kind[1])


def named(kind):
    return f"{kind[0]}-{kind[1].get('feat_extract_norm', 'bands')}-{kind[1].get('do_stable_layer_norm')}"


def clips(lengths=LENGTHS):
    return [torch.randn(length) * (0.3, 0.01)[number % 2] for number, length in enumerate(lengths)]


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_frames_of_a_clip_do_not_depend_on_other_clips(kind):
    encoder = new_speech_encoder(config_of(kind)).eval()
    waves = clips()
    together = encoder(torch.cat(waves), LENGTHS)
    assert together.shape == (sum(map(encoder.token_count.tokens_in, LENGTHS)), encoder.width)
    alone = torch.cat([encoder(wave, (len(wave),)) for wave in waves])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_frames_equal_those_of_the_library(kind):
    encoder = new_speech_encoder(config_of(kind)).eval()
    bands = kind[0] == "wav2vec2-bert"
    extractor = SeamlessM4TFeatureExtractor() if bands else Wav2Vec2FeatureExtractor()
    for wave in clips((8_000, 16_123, 700)):
        inputs = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt")
        inputs = (
            inputs["input_features"][:, : int(inputs["attention_mask"].sum())]
            if bands
            else inputs["input_values"]
        )
        with torch.no_grad():
            expected = encoder.model(inputs).last_hidden_state[0]
        torch.testing.assert_close(encoder(wave, (len(wave),)), expected, atol=2e-4, rtol=1e-3)


def test_padding_changes_the_result_of_a_group_norm():
    encoder = new_speech_encoder(config_of(("wavlm", WAVES | {"feat_extract_norm": "group"}))).eval()
    waves = clips((8_000, 9_000))
    alone = encoder(torch.cat(waves), (8_000, 9_000))
    encoder.is_batched = True
    assert (encoder(torch.cat(waves), (8_000, 9_000)) - alone).abs().max() > 1e-3


def test_the_filter_bank_equals_that_of_the_library():
    (wave,) = clips((12_345,))
    features = SeamlessM4TFeatureExtractor()(wave.numpy(), sampling_rate=16_000, return_tensors="pt")
    count = int(features["attention_mask"].sum())
    torch.testing.assert_close(filter_bank(wave), features["input_features"][0, :count], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_a_gradient_reaches_every_weight(kind):
    encoder = new_speech_encoder(config_of(kind)).train()
    waves = clips((8_000, 9_000, 16_000))
    (encoder(torch.cat(waves), (8_000, 9_000, 16_000)) * torch.randn(encoder.width)).sum().backward()
    keys = ("k_proj.bias", "linear_k.bias")  # softmax ignores them
    assert [
        name
        for name, weight in encoder.named_parameters()
        if not name.endswith(keys) and (weight.grad is None or not weight.grad.any())
    ] == []


def test_a_frozen_encoder_saves_no_activations():
    encoder = new_speech_encoder(config_of(KINDS[2])).train().requires_grad_(False)
    assert not encoder(torch.randn(8_000), (8_000,)).requires_grad


def test_incomplete_published_weights_are_refused(tmp_path):
    first = new_speech_encoder(config_of(("wav2vec2", WAVES)))
    first.model.save_pretrained(tmp_path)
    config = EncoderConfig(kind="transformers", load=str(tmp_path))
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json"):
        new_speech_encoder(config)
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    again = new_speech_encoder(config)
    assert isinstance(again.model, Wav2Vec2Model)
    assert not again.is_normalized
    for (name, one), (_, two) in zip(first.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(one, two), name
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layer_norm.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"encoder\.layer_norm\.bias"):
        new_speech_encoder(config)


def test_all_randomness_but_our_dropout_is_disabled():
    settings = new_speech_encoder(
        config_of(("hubert", WAVES | {"layerdrop": 0.5, "mask_time_prob": 0.5}))
    ).model.config
    assert {name: getattr(settings, name) for name in DISABLED} == DISABLED
    assert settings.hidden_dropout == settings.attention_dropout == 0.0


def test_spec_augment_is_refused():
    encoder = new_speech_encoder(config_of(("wavlm", WAVES)))
    with pytest.raises(ValueError, match="SpecAugment"):
        encoder(torch.randn(8_000), (8_000,), torch.zeros(1, 6, dtype=torch.long))
