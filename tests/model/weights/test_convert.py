import json

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperModel,
)

from audio_lm.common.audio_units import MAX_SAMPLES
from audio_lm.common.errors import CheckpointError
from audio_lm.model.build import build_model
from audio_lm.model.config import EncoderConfig, LanguageModelConfig, ModelConfig
from audio_lm.model.encoders.whisper import AudioEncoder
from audio_lm.model.weights.convert import (
    by_part,
    encoder_weights,
    from_qwen2_audio,
    from_qwen_audio,
    rename_weights,
    to_qwen2_audio,
)
from audio_lm.model.weights.files import INDEX
from audio_lm.model.weights.names import QWEN2_AUDIO_5
from audio_lm.model.weights.parts import find_mismatches
from tests.model import qwen_audio
from tests.model.originals import noise

OURS = {
    name: torch.tensor([float(number)])
    for number, name in enumerate(
        (
            "encoder.conv1.weight",
            "encoder.layers.11.self_attn.k_proj.weight",
            "projector.linear.bias",
            "language_model.model.layers.3.mlp.up_proj.weight",
            "language_model.lm_head.weight",
        )
    )
}


def test_converting_there_and_back_is_the_identity():
    there = to_qwen2_audio(OURS)
    assert "audio_tower.layers.11.self_attn.k_proj.weight" in there
    back = from_qwen2_audio(there, source="here")
    assert back.keys() == OURS.keys()
    assert all(back[name] is tensor for name, tensor in OURS.items())


def test_the_names_of_transformers_5_give_the_same():
    there = rename_weights(OURS, QWEN2_AUDIO_5, source="here")
    assert {"model.language_model.layers.3.mlp.up_proj.weight", "lm_head.weight"} < there.keys()
    back = from_qwen2_audio(there, source="here")
    assert back.keys() == OURS.keys()


def test_the_error_names_an_extra_tensor():
    with pytest.raises(
        CheckpointError, match=r"here: vision.patch.weight is extra -- 1 of 6 tensors do not belong"
    ):
        from_qwen2_audio({**to_qwen2_audio(OURS), "vision.patch.weight": torch.zeros(1)}, source="here")


def test_a_fused_projection_is_split_in_order():
    fused = torch.arange(12.0).view(6, 2)
    parts = from_qwen_audio({"transformer.h.7.attn.c_attn.weight": fused}, clip_start_id=0, source="here")
    start = "language_model.model.layers.7.self_attn."
    assert torch.equal(parts[f"{start}q_proj.weight"], fused[:2])
    assert torch.equal(parts[f"{start}k_proj.weight"], fused[2:4])
    assert torch.equal(parts[f"{start}v_proj.weight"], fused[4:])
    with pytest.raises(CheckpointError, match="expected a multiple of 3"):
        from_qwen_audio({"transformer.h.7.attn.c_attn.weight": fused[:4]}, clip_start_id=0, source="here")


def test_the_borders_of_a_clip_become_rows_of_their_tokens():
    words, borders = torch.zeros(10, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    weights = {"transformer.wte.weight": words, "transformer.audio.audio_bos_eos_token.weight": borders}
    rows = from_qwen_audio(weights, clip_start_id=4, source="here")[
        "language_model.model.embed_tokens.weight"
    ]
    assert torch.equal(rows[4:6], borders)
    assert not rows[:4].any()
    assert not rows[6:].any()
    assert not words.any(), "the original was changed"


def test_buffers_computed_from_the_settings_are_skipped():
    weights = {"transformer.ln_f.weight": torch.ones(1), "transformer.rotary_emb.inv_freq": torch.ones(1)}
    assert list(from_qwen_audio(weights, clip_start_id=0, source="x")) == ["language_model.model.norm.weight"]


def test_an_encoder_without_convolutions_is_refused():
    with pytest.raises(CheckpointError, match="no convolutions"):
        encoder_weights({"decoder.weight": torch.zeros(1)}, source="here")


def test_weights_are_grouped_by_part():
    parts = by_part(OURS)
    assert list(parts) == ["encoder", "projector", "language_model"]
    assert list(parts["projector"]) == ["linear.bias"]


ENCODERS = {  # mel bins, width, heads, layers of openai's Whisper encoders
    "tiny": (80, 384, 6, 4),
    "base": (80, 512, 8, 6),
    "small": (80, 768, 12, 12),
    "medium": (80, 1024, 16, 24),
    "large": (80, 1280, 20, 32),
    "large-v2": (80, 1280, 20, 32),
    "large-v3": (128, 1280, 20, 32),
    "turbo": (128, 1280, 20, 32),
}


def openai_shapes(num_mels, width, num_layers):
    """Name -> shape of an openai checkpoint: the encoder and one tensor of the decoder."""
    shapes = {
        "encoder.positional_embedding": (1500, width),
        "encoder.conv1.weight": (width, num_mels, 3),
        "encoder.conv2.weight": (width, width, 3),
        "decoder.token_embedding.weight": (51_865, width),
    }
    for name in ("conv1", "conv2", "ln_post"):
        shapes[f"encoder.{name}.bias"] = (width,)
    shapes["encoder.ln_post.weight"] = (width,)
    for layer in range(num_layers):
        block = f"encoder.blocks.{layer}."
        for name in ("query", "key", "value", "out"):
            shapes[f"{block}attn.{name}.weight"] = (width, width)
            shapes |= {} if name == "key" else {f"{block}attn.{name}.bias": (width,)}
        for name in ("attn_ln", "mlp_ln"):
            shapes |= {f"{block}{name}.{kind}": (width,) for kind in ("weight", "bias")}
        shapes |= {f"{block}mlp.0.weight": (4 * width, width), f"{block}mlp.0.bias": (4 * width,)}
        shapes |= {f"{block}mlp.2.weight": (width, 4 * width), f"{block}mlp.2.bias": (width,)}
    return shapes


@pytest.mark.parametrize("name", ENCODERS)
def test_every_published_whisper_fits_an_encoder_of_its_shape(name):
    num_mels, width, num_heads, num_layers = ENCODERS[name]
    with torch.device("meta"):
        weights = {
            key: torch.empty(shape) for key, shape in openai_shapes(num_mels, width, num_layers).items()
        }
        encoder = AudioEncoder(
            num_mels=num_mels, width=width, num_layers=num_layers, num_heads=num_heads, mlp_width=4 * width
        )
        theirs = WhisperModel(
            WhisperConfig(
                num_mel_bins=num_mels,
                d_model=width,
                encoder_layers=num_layers,
                encoder_attention_heads=num_heads,
                encoder_ffn_dim=4 * width,
                decoder_layers=1,
                decoder_attention_heads=2,
            )
        )
    assert find_mismatches(encoder, encoder_weights(weights, source=name)) == []
    assert find_mismatches(encoder, encoder_weights(theirs.state_dict(), source=name)) == []


def tiny_whisper(folder, **sizes):
    """Encoder loaded from a Whisper folder; sizes are needed if the folder has no config.json."""
    encoder = EncoderConfig(load=str(folder), **sizes)
    small = LanguageModelConfig(
        settings={
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
        }
    )
    return build_model(
        ModelConfig(encoder=encoder, language_model=small), num_base=9, num_new=0
    ).encoder.eval()


@pytest.mark.parametrize("num_mels", [80, 128])
@pytest.mark.parametrize("kind", [WhisperModel, WhisperForConditionalGeneration])
def test_a_whisper_gives_the_tokens_of_transformers(kind, num_mels, tmp_path):
    shape = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 128}
    decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 8}
    whisper = kind(WhisperConfig(num_mel_bins=num_mels, **shape, **decoder)).eval()
    encoder = whisper.get_encoder()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    whisper.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / INDEX).is_file()
    (wave,) = noise(MAX_SAMPLES)
    features = WhisperFeatureExtractor(feature_size=num_mels)(wave, sampling_rate=16_000, return_tensors="pt")
    before_norm = []
    encoder.layer_norm.register_forward_pre_hook(lambda _, inputs: before_norm.append(inputs[0]))
    with torch.no_grad():
        encoder(features["input_features"])
        # Whisper does not pool; Qwen's encoders pool before the last norm.
        expected = encoder.layer_norm(before_norm[0][0].view(750, 2, 32).mean(1))
        got = tiny_whisper(tmp_path)(torch.from_numpy(wave), (MAX_SAMPLES,))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_mels", [80, 128])
@pytest.mark.parametrize("has_config", [False, True])
def test_a_whisper_in_openai_names_gives_the_reference_tokens(num_mels, has_config, tmp_path):
    generator = torch.Generator().manual_seed(0)
    shapes = {**openai_shapes(num_mels, 32, 2), "decoder.token_embedding.weight": (3, 32)}
    weights = {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(weights, tmp_path / "model.safetensors")
    (wave,) = noise(8_000)
    own = {name.removeprefix("encoder."): tensor for name, tensor in weights.items()}
    expected = qwen_audio.encode_with_whisper(own, wave, num_mels=num_mels, num_heads=4, num_layers=2)
    with torch.no_grad():
        sizes = {"num_mels": num_mels, "width": 32, "num_layers": 2, "num_heads": 4, "mlp_width": 128}
        if has_config:
            dims = {
                "n_mels": num_mels,
                "n_audio_ctx": 1500,
                "n_audio_state": 32,
                "n_audio_head": 4,
                "n_audio_layer": 2,
            }
            (tmp_path / "config.json").write_text(json.dumps(dims))
        got = tiny_whisper(tmp_path, **({} if has_config else sizes))(torch.from_numpy(wave), (8_000,))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
