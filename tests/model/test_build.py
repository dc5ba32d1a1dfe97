from dataclasses import replace

import pytest
import torch
from transformers import WhisperConfig, WhisperModel

from audio_lm.common.errors import CheckpointError, RecipeError
from audio_lm.model.build import build_model
from audio_lm.model.config import EncoderConfig, LanguageModelConfig, ModelConfig
from audio_lm.model.decoder.language_model import new_language_model

SETTINGS = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 16,
}
CONFIG = ModelConfig(
    encoder=EncoderConfig(num_mels=80, width=32, num_layers=2, num_heads=2, mlp_width=64),
    language_model=LanguageModelConfig(architecture="qwen2", settings=SETTINGS),
)


def test_the_first_component_of_a_name_is_its_part():
    model = build_model(CONFIG, num_base=50, num_new=7)
    assert {name.partition(".")[0] for name, _ in model.named_parameters()} == {
        "encoder",
        "projector",
        "language_model",
        "new_tokens",
    }
    assert model.num_base == 50
    assert model.new_tokens.input.shape == (7, 16)


def test_neighboring_rows_of_ordered_tokens_start_similar():
    model = build_model(CONFIG, num_base=50, num_new=300, ordered_rows=range(100, 300))
    similarity = torch.nn.functional.cosine_similarity
    rows = model.new_tokens.input
    assert similarity(rows[100:299], rows[101:300]).mean() > 0.6
    assert similarity(rows[:99], rows[1:100]).mean() < 0.3


def test_a_loaded_language_model_keeps_its_weights_and_its_vocabulary_size_is_checked(tmp_path):
    torch.manual_seed(1)
    saved = new_language_model("qwen2", SETTINGS, num_base=50)
    saved.save_pretrained(tmp_path)
    config = replace(CONFIG, language_model=LanguageModelConfig(load=str(tmp_path)))
    model = build_model(config, num_base=50, num_new=3)
    assert torch.equal(
        model.language_model.get_input_embeddings().weight, saved.get_input_embeddings().weight
    )
    with pytest.raises(CheckpointError, match="has 50 rows, expected 60"):
        build_model(config, num_base=60, num_new=3)


def test_a_published_encoder_is_loaded_or_refused(tmp_path):
    shape = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    whisper = WhisperModel(
        WhisperConfig(**shape, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=8)
    )
    whisper.save_pretrained(tmp_path)
    encoder = replace(CONFIG.encoder, load=str(tmp_path))
    model = build_model(replace(CONFIG, encoder=encoder), num_base=50, num_new=3)
    assert torch.equal(model.encoder.layers[1].fc1.weight, whisper.encoder.layers[1].fc1.weight)
    with pytest.raises(RecipeError, match=r"encoder.num_mels is 128, expected 80; remove these settings"):
        build_model(replace(CONFIG, encoder=replace(encoder, num_mels=128)), num_base=50, num_new=3)
    (tmp_path / "config.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"does not fit the model: layers.2.self_attn.k_proj.weight is missing"
    ):
        build_model(replace(CONFIG, encoder=replace(encoder, num_layers=3)), num_base=50, num_new=3)


@pytest.mark.parametrize("tied", [False, True])
def test_new_tokens_beside_a_loaded_language_model_are_never_the_most_likely(tmp_path, tied):
    """For every hidden state: the logit of a new token is the mean of the base logits, so it is never the largest."""
    saved = new_language_model("qwen2", {**SETTINGS, "tie_word_embeddings": tied}, num_base=50)
    saved.save_pretrained(tmp_path)
    config = replace(CONFIG, language_model=LanguageModelConfig(load=str(tmp_path)))
    model = build_model(config, num_base=50, num_new=300, ordered_rows=range(100, 300))
    head = model.language_model.get_output_embeddings().weight
    states = torch.cat([torch.randn(500, 16), head, -head, model.new_tokens.input, 100 * torch.randn(50, 16)])
    logits = model.logits(states)
    assert logits.argmax(-1).max() < 50
    torch.testing.assert_close(logits[:, 50:], logits[:, :50].mean(1, keepdim=True).expand(-1, 300))
    own = build_model(CONFIG, num_base=50, num_new=300)
    assert torch.equal(own.new_tokens.input, own.new_tokens.output)
    assert own.logits(states).argmax(-1).max() >= 50
