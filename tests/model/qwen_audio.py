"""Reference implementation of Qwen-Audio on its own file format, without its code and without our modules.

It computes what the published model computes for clips in a batch with a longer one, written from arXiv:2311.07919
and the names in the published files.
"""

import json
from dataclasses import dataclass
from math import log

import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import WhisperFeatureExtractor

from audio_lm.model.config import EncoderConfig, LanguageModelConfig, ModelConfig

WIDTH, HEADS, INNER, LAYERS, ROWS, START = 32, 4, 40, 2, 64, 60
AUDIO_WIDTH, AUDIO_HEADS, AUDIO_LAYERS = 48, 4, 2
CONFIG = {
    "model_type": "qwen",
    "vocab_size": ROWS,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * INNER,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "kv_channels": WIDTH // HEADS,
    "layer_norm_epsilon": 1e-5,
    "rotary_emb_base": 10_000,
    "rotary_pct": 1.0,
    "seq_length": 2048,
    "max_position_embeddings": 8192,
    "no_bias": True,
    "tie_word_embeddings": False,
    "use_dynamic_ntk": True,
    "use_logn_attn": True,
    "audio": {
        "n_mels": 80,
        "n_ctx": 1500,
        "n_state": AUDIO_WIDTH,
        "n_head": AUDIO_HEADS,
        "n_layer": AUDIO_LAYERS,
        "output_dim": WIDTH,
        "avg_pool": True,
        "add_audio_bos_eos_token": True,
        "audio_start_id": START,
    },
}


def config_of(folder) -> ModelConfig:
    """Config that loads the model of ``write``."""
    encoder = EncoderConfig(
        num_mels=80,
        width=AUDIO_WIDTH,
        num_layers=AUDIO_LAYERS,
        num_heads=AUDIO_HEADS,
        mlp_width=4 * AUDIO_WIDTH,
    )
    return ModelConfig(load=str(folder), encoder=encoder, language_model=LanguageModelConfig())


def shapes(num_rows: int = ROWS) -> dict[str, tuple[int, ...]]:
    """Name -> shape of all tensors in its files."""
    audio_prefix = "transformer.audio."
    named: dict[str, tuple[int, ...]] = {
        f"{audio_prefix}conv1.weight": (AUDIO_WIDTH, 80, 3),
        f"{audio_prefix}conv1.bias": (AUDIO_WIDTH,),
        f"{audio_prefix}conv2.weight": (AUDIO_WIDTH, AUDIO_WIDTH, 3),
        f"{audio_prefix}conv2.bias": (AUDIO_WIDTH,),
        f"{audio_prefix}ln_post.weight": (AUDIO_WIDTH,),
        f"{audio_prefix}ln_post.bias": (AUDIO_WIDTH,),
        f"{audio_prefix}proj.weight": (WIDTH, AUDIO_WIDTH),
        f"{audio_prefix}proj.bias": (WIDTH,),
        f"{audio_prefix}audio_bos_eos_token.weight": (2, WIDTH),
        "transformer.wte.weight": (num_rows, WIDTH),
        "transformer.ln_f.weight": (WIDTH,),
        "lm_head.weight": (num_rows, WIDTH),
    }
    for layer in range(AUDIO_LAYERS):
        block = f"{audio_prefix}blocks.{layer}."
        for name in ("query", "key", "value", "out"):
            named[f"{block}attn.{name}.weight"] = (AUDIO_WIDTH, AUDIO_WIDTH)
            named |= {} if name == "key" else {f"{block}attn.{name}.bias": (AUDIO_WIDTH,)}
        for name in ("attn_ln", "mlp_ln"):
            named |= {f"{block}{name}.{kind}": (AUDIO_WIDTH,) for kind in ("weight", "bias")}
        for name, (out, into) in (("mlp.0", (4, 1)), ("mlp.2", (1, 4))):
            named[f"{block}{name}.weight"] = (out * AUDIO_WIDTH, into * AUDIO_WIDTH)
            named[f"{block}{name}.bias"] = (out * AUDIO_WIDTH,)
    for layer in range(LAYERS):
        block = f"transformer.h.{layer}."
        named |= {
            f"{block}ln_1.weight": (WIDTH,),
            f"{block}ln_2.weight": (WIDTH,),
            f"{block}attn.c_attn.weight": (3 * WIDTH, WIDTH),
            f"{block}attn.c_attn.bias": (3 * WIDTH,),
            f"{block}attn.c_proj.weight": (WIDTH, WIDTH),
            f"{block}mlp.w1.weight": (INNER, WIDTH),
            f"{block}mlp.w2.weight": (INNER, WIDTH),
            f"{block}mlp.c_proj.weight": (WIDTH, INNER),
        }
    return named


def write(folder, *, num_rows: int = ROWS, start_id: int = START) -> "Original":
    """Save a random Qwen-Audio: weights and config, without tokenizer."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: 0.2 * torch.randn(shape, generator=generator)
        + (1.0 if "ln" in name and name.endswith("weight") else 0.0)
        for name, shape in shapes(num_rows).items()
    }
    step = log(10_000) / (AUDIO_WIDTH // 2 - 1)
    angles = torch.arange(1500)[:, None] * torch.exp(-step * torch.arange(AUDIO_WIDTH // 2))
    weights["transformer.audio.positional_embedding"] = torch.cat([angles.sin(), angles.cos()], 1)
    save_file(weights, folder / "model.safetensors")
    audio = {**CONFIG["audio"], "audio_start_id": start_id}
    (folder / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": num_rows, "audio": audio}))
    return Original(weights, start_id)


@dataclass(frozen=True)
class Original:
    """A Qwen-Audio as a function of its weights."""

    weights: dict[str, torch.Tensor]
    start_id: int

    def logits(self, ids, waves) -> torch.Tensor:
        """(T, V) logits; the embeddings from ``<audio>`` to ``</audio>`` are replaced by those of a clip."""
        w = self.weights
        states = F.embedding(torch.tensor(ids), w["transformer.wte.weight"]).clone()
        starts = [index for index, token in enumerate(ids) if token == self.start_id]
        borders = w["transformer.audio.audio_bos_eos_token.weight"]
        for start, wave in zip(starts, waves, strict=True):
            clip = torch.cat([borders[:1], self.encode(wave), borders[1:]])
            assert ids[start + len(clip) - 1] == self.start_id + 1
            states[start : start + len(clip)] = clip
        for layer in range(LAYERS):
            states = self._layer(states, f"transformer.h.{layer}.")
        return _rms_norm(states, w["transformer.ln_f.weight"]) @ w["lm_head.weight"].T

    def encode(self, wave) -> torch.Tensor:
        """(K, D) audio tokens of a clip."""
        w = {
            name.removeprefix("transformer.audio."): value
            for name, value in self.weights.items()
            if name.startswith("transformer.audio.")
        }
        normed = encode_with_whisper(w, wave, num_mels=80, num_heads=AUDIO_HEADS, num_layers=AUDIO_LAYERS)
        return F.linear(normed, w["proj.weight"], w["proj.bias"])

    def _layer(self, states, block) -> torch.Tensor:
        w = {
            name.removeprefix(block): value for name, value in self.weights.items() if name.startswith(block)
        }
        normed = _rms_norm(states, w["ln_1.weight"])
        fused = F.linear(normed, w["attn.c_attn.weight"], w["attn.c_attn.bias"])
        query, key, value = (part.view(-1, HEADS, WIDTH // HEADS) for part in fused.split(WIDTH, -1))
        mixed = F.scaled_dot_product_attention(
            _rotate(query).transpose(0, 1),
            _rotate(key).transpose(0, 1),
            value.transpose(0, 1),
            is_causal=True,
        )
        states = states + mixed.transpose(0, 1).reshape(-1, WIDTH) @ w["attn.c_proj.weight"].T
        normed = _rms_norm(states, w["ln_2.weight"])
        inner = (normed @ w["mlp.w1.weight"].T) * F.silu(normed @ w["mlp.w2.weight"].T)
        return states + inner @ w["mlp.c_proj.weight"].T


def encode_with_whisper(w, wave, *, num_mels, num_heads, num_layers) -> torch.Tensor:
    """(K, D) tokens by an encoder with openai's names: clip padded to 30 s, keys after its end masked, pooled, normed."""
    mel = WhisperFeatureExtractor(feature_size=num_mels)(wave, sampling_rate=16_000, return_tensors="pt")
    states = F.gelu(F.conv1d(mel["input_features"], w["conv1.weight"], w["conv1.bias"], padding=1))
    states = F.gelu(F.conv1d(states, w["conv2.weight"], w["conv2.bias"], stride=2, padding=1))[0].T
    num_frames = len(wave) // 160
    num_conv = (num_frames - 1) // 2 + 1
    states = (states + w["positional_embedding"])[:num_conv]
    for layer in range(num_layers):
        states = _whisper_layer(states, w, f"blocks.{layer}.", num_heads)
    num_tokens = (num_conv - 2) // 2 + 1
    pooled = states[: 2 * num_tokens].view(num_tokens, 2, -1).mean(1)
    return _layer_norm(pooled, w, "ln_post")


def _whisper_layer(states, w, block, num_heads) -> torch.Tensor:
    count, width = states.shape
    normed = _layer_norm(states, w, f"{block}attn_ln")
    query, key, value = (
        F.linear(normed, w[f"{block}attn.{name}.weight"], w.get(f"{block}attn.{name}.bias"))
        .view(count, num_heads, width // num_heads)
        .transpose(0, 1)
        for name in ("query", "key", "value")
    )
    mixed = F.scaled_dot_product_attention(query, key, value).transpose(0, 1).reshape(count, width)
    states = states + F.linear(mixed, w[f"{block}attn.out.weight"], w[f"{block}attn.out.bias"])
    normed = _layer_norm(states, w, f"{block}mlp_ln")
    inner = F.gelu(F.linear(normed, w[f"{block}mlp.0.weight"], w[f"{block}mlp.0.bias"]))
    return states + F.linear(inner, w[f"{block}mlp.2.weight"], w[f"{block}mlp.2.bias"])


def _layer_norm(states, w, name) -> torch.Tensor:
    return F.layer_norm(states, states.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def _rms_norm(states, weight) -> torch.Tensor:
    return states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + 1e-5) * weight


def _rotate(states_THC) -> torch.Tensor:
    """Apply rotary positions; a head's two halves are the two coordinates."""
    half = states_THC.shape[-1] // 2
    angles = torch.arange(len(states_THC))[:, None] / 10_000 ** (torch.arange(half) / half)
    cos, sin = (f(angles)[:, None] for f in (torch.cos, torch.sin))
    first, second = states_THC[..., :half], states_THC[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
