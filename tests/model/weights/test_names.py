import pytest
from transformers import WhisperConfig, WhisperModel

from audio_lm.model.weights.convert import rename_weights
from audio_lm.model.weights.names import QWEN2_AUDIO, QWEN2_AUDIO_5, QWEN_AUDIO, WHISPER
from tests.model import qwen_audio


@pytest.mark.parametrize("table", [WHISPER, QWEN2_AUDIO, QWEN2_AUDIO_5, QWEN_AUDIO])
def test_names_are_unique_in_each_column(table):
    for names in zip(*table, strict=True):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("table", [WHISPER, QWEN2_AUDIO, QWEN2_AUDIO_5, QWEN_AUDIO])
def test_both_columns_have_the_same_layer_numbers(table):
    for ours, theirs in table:
        assert ours.count("{}") == theirs.count("{}"), ours


def test_every_weight_of_a_whisper_encoder_has_a_row():
    shape = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 8}
    decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 8}
    weights = WhisperModel(WhisperConfig(**shape, **decoder)).encoder.state_dict()
    assert len(rename_weights(weights, WHISPER, source="whisper")) == len(weights)


def test_every_weight_of_a_qwen_audio_has_a_row():
    fused, borders = ".c_attn.", "audio_bos_eos_token"
    weights = dict.fromkeys(name for name in qwen_audio.shapes() if fused not in name and borders not in name)
    ours = rename_weights(weights, [(theirs, ours) for ours, theirs in QWEN_AUDIO], source="qwen-audio")
    assert len(ours) == len(weights)
