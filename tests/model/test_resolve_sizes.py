from dataclasses import asdict, replace

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    Wav2Vec2FeatureExtractor,
    WhisperConfig,
    WhisperModel,
)

from audio_lm.common.errors import CheckpointError, RecipeError
from audio_lm.model.build import build_model
from audio_lm.model.config import SIZES, EncoderConfig, EncoderSizes, LanguageModelConfig, ModelConfig
from audio_lm.model.decoder.language_model import new_language_model
from audio_lm.model.encoders.registry import ENCODERS
from audio_lm.model.memory_estimate import num_parameters
from audio_lm.model.meta_init import build_on_meta
from audio_lm.model.resolve_sizes import resolve_sizes, text_settings
from audio_lm.model.weights import files
from tests.conftest import WAVLM
from tests.model.originals import NUM_ROWS, SETTINGS, config_of, noise, write_qwen2_audio

HUB = "nobody/nothing"
ROPE = {"rope_type": "default", "rope_theta": 5e5}
COMPLETE = EncoderConfig(load=HUB, num_mels=80, width=32, num_layers=2, num_heads=2, mlp_width=48)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """Folder of a Whisper with two heads and large attention weights, so that the number of heads matters."""
    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    shape = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48}
    decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 8, "vocab_size": 60}
    ids = {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 2, "decoder_start_token_id": 2}
    model = WhisperModel(WhisperConfig(**shape, **decoder, **ids)).eval()
    for name, weight in model.named_parameters():
        if "self_attn" in name and weight.ndim == 2:
            weight.data.mul_(20)
    model.save_pretrained(folder)
    return folder


def encode(config):
    wave = torch.from_numpy(noise(8_000)[0])
    with torch.no_grad():
        return ENCODERS["whisper"].build(config).eval()(wave, (8_000,))


def test_the_number_of_heads_changes_the_result_and_is_read_from_config_json(whisper, tmp_path):
    """Without config.json, a wrong number of heads cannot be detected: the weights load and give other results."""
    (tmp_path / "model.safetensors").symlink_to(whisper / "model.safetensors")
    sizes = {"num_mels": 80, "width": 32, "num_layers": 2, "mlp_width": 48}
    alone = encode(EncoderConfig(load=str(whisper)))
    assert torch.equal(alone, encode(EncoderConfig(load=str(tmp_path), num_heads=2, **sizes)))
    assert (alone - encode(EncoderConfig(load=str(tmp_path), num_heads=4, **sizes))).abs().max() > 0.1
    with pytest.raises(
        CheckpointError, match=r"no config.json, from which encoder.num_heads would be read; copy it"
    ):
        encode(EncoderConfig(load=str(tmp_path), **sizes))


@pytest.mark.parametrize("name", SIZES)
def test_a_size_in_the_recipe_must_equal_that_of_config_json(whisper, name):
    published = EncoderSizes(80, 32, 2, 2, 48)
    config = EncoderConfig(load=str(whisper), **{name: 2 * getattr(published, name)})
    words = rf"encoder.{name} is {2 * getattr(published, name)}, expected {getattr(published, name)}"
    with pytest.raises(RecipeError, match=words):
        ENCODERS["whisper"].build(config)
    whole = ModelConfig(encoder=config, language_model=LanguageModelConfig(settings=SETTINGS))
    for build in (build_model, build_on_meta):
        with pytest.raises(RecipeError, match=words):
            build(whole, num_base=50, num_new=0)
    given = EncoderConfig(load=str(whisper), **{name: getattr(published, name)})
    assert asdict(resolve_sizes(replace(whole, encoder=given)).encoder.sizes) == asdict(published)


def test_the_width_must_be_divisible_by_the_heads():
    with pytest.raises(RecipeError, match=r"encoder.width is 32 and encoder.num_heads 3"):
        ENCODERS["whisper"].build(EncoderConfig(width=32, num_heads=3))


def test_default_sizes_are_those_of_large_v2():
    assert resolve_sizes(ModelConfig()).encoder.sizes == EncoderSizes()
    with pytest.raises(ValueError, match="num_mels is null"):
        _ = EncoderConfig().sizes


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    new_language_model("llama", {**SETTINGS, "rope_parameters": ROPE}, num_base=50).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    "settings",
    [{}, SETTINGS, {"rope_theta": 5e5}, {"rope_scaling": None}, {"rope_parameters": {"rope_theta": 5e5}}],
)
def test_settings_that_equal_those_of_the_language_model_are_accepted(language_model, settings):
    config = ModelConfig(
        encoder=EncoderConfig(width=32, num_layers=1, num_heads=2, mlp_width=32),
        language_model=LanguageModelConfig(load=language_model, settings=settings),
    )
    assert resolve_sizes(config, is_planned=True).language_model == config.language_model
    model = build_model(config, num_base=50, num_new=3)
    assert num_parameters(config, num_base=50, num_new=3) == {
        part: sum(weight.numel() for weight in child.parameters()) for part, child in model.named_children()
    }


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"settings": {"num_attention_heads": 2}}, "settings.num_attention_heads is 2, expected 4"),
        ({"settings": {"rope_theta": 1e4}}, "settings.rope_theta is 10000.0, expected 500000.0"),
        ({"settings": {"rope_scaling": {"factor": 2.0}}}, "settings.rope_scaling"),
        ({"settings": {"rms_norm_eps": 1e-3}}, "settings.rms_norm_eps is 0.001, expected 1e-06"),
        ({"settings": {"hidden_sizes": 3}}, "settings.hidden_sizes is 3, expected None"),
        ({"architecture": "mistral"}, "language_model.architecture is mistral, expected llama"),
    ],
)
def test_settings_that_differ_from_the_language_model_are_refused(language_model, others, words):
    config = ModelConfig(
        encoder=EncoderConfig(width=32, num_layers=1, num_heads=2, mlp_width=32),
        language_model=LanguageModelConfig(load=language_model, **others),
    )
    for build in (build_model, build_on_meta):
        with pytest.raises(RecipeError, match=words):
            build(config, num_base=50, num_new=0)


def test_a_speech_encoder_is_compared_with_its_config(tmp_path):
    settings = AutoConfig.for_model("wavlm", **WAVLM)
    AutoModel.from_config(settings).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    build = ENCODERS["transformers"].build
    config = EncoderConfig(kind="transformers", load=str(tmp_path))
    assert build(config).width == WAVLM["hidden_size"]
    assert build(replace(config, settings=WAVLM)).width == WAVLM["hidden_size"]
    with pytest.raises(RecipeError, match=r"encoder.settings.num_attention_heads is 4, expected 2"):
        build(replace(config, settings={"num_attention_heads": 4}))
    with pytest.raises(RecipeError, match=r"encoder.architecture is hubert, expected wavlm"):
        build(replace(config, architecture="hubert"))


def test_the_hub_is_queried_only_for_sizes_that_a_plan_lacks(monkeypatch, tmp_path):
    queries = []

    def download(name, file):
        queries.append((name, file))
        return str(tmp_path / file)

    monkeypatch.setattr(files, "hf_hub_download", download)
    write_qwen2_audio(tmp_path)
    text = LanguageModelConfig(load=HUB, settings=SETTINGS)
    known = ModelConfig(encoder=COMPLETE, language_model=text)
    assert resolve_sizes(known, is_planned=True) == known
    assert text_settings(known).hidden_size == SETTINGS["hidden_size"]
    whole = ModelConfig(
        load=HUB, encoder=replace(COMPLETE, load=None), language_model=LanguageModelConfig(settings=SETTINGS)
    )
    assert resolve_sizes(whole, is_planned=True) == whole
    assert not queries
    alone = resolve_sizes(ModelConfig(load=HUB), is_planned=True)
    assert alone.encoder.sizes == EncoderSizes(128, 32, 2, 2, 64)
    assert text_settings(alone).vocab_size == NUM_ROWS
    assert queries == [(HUB, "config.json")] * 2


def test_a_meta_model_of_a_folder_needs_no_sizes_in_the_recipe(tmp_path):
    write_qwen2_audio(tmp_path)
    alone = build_on_meta(ModelConfig(load=str(tmp_path)), num_base=NUM_ROWS, num_new=1)
    beside = build_on_meta(config_of(tmp_path), num_base=NUM_ROWS, num_new=1)
    assert [weight.shape for weight in alone.parameters()] == [weight.shape for weight in beside.parameters()]
