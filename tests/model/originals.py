"""Tiny random models of other libraries, saved by those libraries, and helpers to compare them with ours."""

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from audio_lm.common.audio_units import frames_in, tokens_in
from audio_lm.data.example import Example
from audio_lm.data.packs import pack_examples
from audio_lm.model.config import EncoderConfig, LanguageModelConfig, ModelConfig
from audio_lm.prompts.tokenizer import train_tokenizer

ENCODER = {
    "num_mel_bins": 128,
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
}
SETTINGS = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
}
NUM_ROWS = 320


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Tokenizer of about 270 tokens with the six chat tokens."""
    return train_tokenizer(["one two three", "what do you hear?"] * 4, vocab_size=270)


def config_of(folder, **others) -> ModelConfig:
    """Config that loads the model of ``write_qwen2_audio``."""
    encoder = EncoderConfig(num_mels=128, width=32, num_layers=2, num_heads=2, mlp_width=64)
    language_model = LanguageModelConfig(settings={"hidden_size": 32, "num_hidden_layers": 2})
    return ModelConfig(load=str(folder), encoder=encoder, language_model=language_model, **others)


def write_qwen2_audio(folder, *, layout: int = 4, seed: int = 0) -> Qwen2AudioForConditionalGeneration:
    """Save a tiny Qwen2-Audio with all its files.

    Args:
        layout: 4, names of released files; 5, names of a state dict of transformers 5.
    """
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    audio_id = tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    text = {"model_type": "qwen2", "vocab_size": NUM_ROWS, **SETTINGS}
    model = Qwen2AudioForConditionalGeneration(
        Qwen2AudioConfig(audio_config=ENCODER, text_config=text, audio_token_index=audio_id)
    ).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    if layout == 5:
        for name in ("model.safetensors",):
            weights = {key: value.contiguous() for key, value in model.state_dict().items()}
            save_file(weights, folder / name, metadata={"format": "pt"})
    names = load_file(folder / "model.safetensors")
    assert any(name.startswith("model.audio_tower" if layout == 5 else "audio_tower") for name in names)
    Qwen2AudioProcessor(WhisperFeatureExtractor(feature_size=128), tokenizer).save_pretrained(folder)
    return model


def noise(*lengths: int, seed: int = 0) -> list[np.ndarray]:
    """Clips of noise with the given numbers of samples."""
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def our_logits(model, ids, audio_id, waves) -> torch.Tensor:
    """(T, V) logits of one conversation with expanded audio placeholders."""
    positions = [index for index, token in enumerate(ids) if token == audio_id]
    assert len(positions) == sum(tokens_in(frames_in(len(wave))) for wave in waves)
    is_learned = [False] + [True] * len(ids)
    example = Example("x", "chat", 0, [*ids, 0], is_learned, positions, tuple(map(len, waves)))
    with torch.no_grad():
        return model.eval()(pack_examples([example], waves))
