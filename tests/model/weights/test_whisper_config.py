from pathlib import Path

import pytest
from transformers import Qwen2AudioConfig, Qwen2AudioEncoderConfig, WhisperConfig

from audio_lm.common.errors import CheckpointError
from audio_lm.model.config import EncoderSizes
from audio_lm.model.weights.whisper_config import encoder_sizes
from tests.model import qwen_audio

PATH = Path("folder/config.json")
THEIRS = {
    "num_mel_bins": 128,
    "d_model": 32,
    "encoder_layers": 3,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
}
OPENAI = {"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 384, "n_audio_head": 6, "n_audio_layer": 4}


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (WhisperConfig(**THEIRS).to_dict(), EncoderSizes(128, 32, 3, 4, 48)),
        (Qwen2AudioEncoderConfig(**THEIRS).to_dict(), EncoderSizes(128, 32, 3, 4, 48)),
        (Qwen2AudioConfig(audio_config=THEIRS).to_dict(), EncoderSizes(128, 32, 3, 4, 48)),
        # Files of whole models leave defaults out.
        (
            {"model_type": "qwen2_audio", "audio_config": {"d_model": 640}},
            EncoderSizes(128, 640, 32, 20, 5120),
        ),
        (OPENAI, EncoderSizes(80, 384, 4, 6, 1536)),
        ({"model_type": "whisper", **OPENAI}, EncoderSizes(80, 384, 4, 6, 1536)),
        (qwen_audio.CONFIG, EncoderSizes(80, 48, 2, qwen_audio.AUDIO_HEADS, 192)),
    ],
)
def test_sizes_are_read_in_every_format(config, sizes):
    assert encoder_sizes(config, path=PATH) == sizes


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            WhisperConfig(**THEIRS, activation_function="relu").to_dict(),
            "activation_function is relu and not gelu",
        ),
        (
            WhisperConfig(**THEIRS, max_source_positions=750).to_dict(),
            "max_source_positions is 750 and not 1500",
        ),
        ({**OPENAI, "n_audio_ctx": 100}, "n_audio_ctx is 100"),
        ({**OPENAI, "n_audio_head": None}, "n_audio_head is None -- expected an integer"),
        ({**OPENAI, "n_mels": -80}, "n_mels is -80"),
        (
            {**qwen_audio.CONFIG, "audio": {**qwen_audio.CONFIG["audio"], "avg_pool": False}},
            "avg_pool is False",
        ),
        ({"model_type": "whisper", "d_model": "wide"}, "no configuration of a whisper"),
        ({"model_type": "llama"}, "describes a 'llama'"),
        ({}, "describes a None"),
    ],
)
def test_unsupported_settings_are_refused(config, words):
    with pytest.raises(CheckpointError, match=f"folder/config.json.*{words}"):
        encoder_sizes(config, path=PATH)
