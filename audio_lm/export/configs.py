"""Configuration files of an exported folder, as Hugging Face libraries read them.

The same folder works with transformers 4.57 and 5: fields that were renamed are written under both names, and no class
is named that one of the versions lacks.

Source: the released folder of Qwen2-Audio; ``Qwen2AudioConfig`` and ``WhisperFeatureExtractor``.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PretrainedConfig

from audio_lm.common.audio_units import (
    MAX_FRAMES,
    MAX_SAMPLES,
    MAX_SECONDS,
    SAMPLES_PER_FRAME,
    SAMPLES_PER_SECOND,
)
from audio_lm.data.examples import Prompt
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.encoders.whisper import MAX_POSITIONS, AudioEncoder
from audio_lm.prompts.chatml import SYSTEM_TURN, TURN_END, TURN_START
from audio_lm.prompts.conversation import CLIP_TOKEN, END_TOKEN
from audio_lm.prompts.natural import CLIP_END, CLIP_START
from audio_lm.prompts.tags import AUDIO_END, AUDIO_START
from audio_lm.prompts.vocabulary import TEXT_TOKENS, Vocabulary

PROCESSOR = "Qwen2AudioProcessor"
MAX_NEW_TOKENS = 256
BOOKKEEPING = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")

# Renders the same text as `prompts.chatml`: parts in order, clips numbered through the conversation.
CHAT_TEMPLATE = """\
{%- set clips = namespace(count=0) -%}
{%- for message in messages -%}
{%- if loop.first and message['role'] != 'system' -%}
{{- '<TURN_START>system\\n<SYSTEM><TURN_END>\\n' -}}
{%- endif -%}
{{- '<TURN_START>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'audio' or 'audio' in part or 'audio_url' in part -%}
{%- set clips.count = clips.count + 1 -%}
{{- 'Audio ' ~ clips.count ~ ': <CLIP>\\n' -}}
{%- elif 'text' in part -%}
{{- part['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<TURN_END>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<TURN_START>assistant\\n' -}}
{%- endif -%}
"""

# Renders the same text as `prompts.natural` and `prompts.tags`: the clips, then the question or the tags.
QUESTION_TEMPLATE = """\
{%- if messages|length != 1 or messages[0]['role'] != 'user' -%}
{{- raise_exception('this model was trained on one user message without a system message: clips and a question') -}}
{%- endif -%}
{%- set content = messages[0]['content'] -%}
{%- if content is string -%}
{{- content -}}
{%- else -%}
{%- for part in content -%}
{%- if part['type'] == 'audio' or 'audio' in part or 'audio_url' in part -%}
{{- '<CLIP>' -}}
{%- endif -%}
{%- endfor -%}
{%- for part in content -%}
{%- if 'text' in part -%}
{{- part['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
"""
CLIP_BORDERS: Mapping[Prompt, tuple[str, str]] = {
    "tags": (AUDIO_START, AUDIO_END),
    "natural": (CLIP_START, CLIP_END),
    "chatml": (CLIP_START, CLIP_END),
}
"""Prompt format -> tokens before and after a clip."""


def model_config(model: AudioLM, vocabulary: Vocabulary, dtype: torch.dtype) -> dict[str, Any]:
    """Content of ``config.json``."""
    assert isinstance(model.encoder, AudioEncoder), "merged_weights rejects every other kind"
    precision = str(dtype).removeprefix("torch.")
    return {
        "architectures": ["Qwen2AudioForConditionalGeneration"],
        "model_type": "qwen2_audio",
        "audio_token_index": vocabulary.audio_id,
        "audio_config": _audio_config(model.encoder),
        "text_config": _text_config(model.language_model.config, num_rows=len(vocabulary)),
        "ignore_index": -100,
        "tie_word_embeddings": False,
        "pad_token_id": vocabulary.pad_id,
        "torch_dtype": precision,
        "dtype": precision,
    }


def generation_config(vocabulary: Vocabulary) -> dict[str, Any]:
    """Content of ``generation_config.json``: greedy decoding, as in ``decoder.generate``."""
    return {
        "do_sample": False,
        "eos_token_id": [vocabulary.turn_end_id, vocabulary.end_id],
        "pad_token_id": vocabulary.pad_id,
        "max_new_tokens": MAX_NEW_TOKENS,
    }


def feature_extractor_config(num_mels: int) -> dict[str, Any]:
    """Content of ``preprocessor_config.json``: Whisper's log-mel spectrogram."""
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": PROCESSOR,
        "feature_size": num_mels,
        "sampling_rate": SAMPLES_PER_SECOND,
        "hop_length": SAMPLES_PER_FRAME,
        "n_fft": 400,
        "chunk_length": int(MAX_SECONDS),
        "n_samples": MAX_SAMPLES,
        "nb_max_frames": MAX_FRAMES,
        "padding_side": "right",
        "padding_value": 0.0,
        "dither": 0.0,
        "return_attention_mask": True,
    }


def tokenizer_config() -> dict[str, Any]:
    """Content of ``tokenizer_config.json``; the tokens themselves are in ``tokenizer.json``."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "processor_class": PROCESSOR,
        "eos_token": TURN_END,
        "pad_token": END_TOKEN,
        "additional_special_tokens": list(TEXT_TOKENS),
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 1_000_000_000,
        "padding_side": "left",
    }


def processor_config(prompt: Prompt) -> dict[str, Any]:
    """Content of ``processor_config.json``: without it, transformers 4 adds its own tokens around a clip."""
    start, end = CLIP_BORDERS[prompt]
    return {"processor_class": PROCESSOR, "audio_bos_token": start, "audio_eos_token": end}


def chat_template(prompt: Prompt = "chatml") -> str:
    """Content of ``chat_template.jinja``, which renders the text of a prompt format."""
    (system,) = SYSTEM_TURN.content
    placeholders = {
        "<TURN_START>": TURN_START,
        "<TURN_END>": TURN_END,
        "<SYSTEM>": str(system),
        "<CLIP>": CLIP_TOKEN.join(CLIP_BORDERS[prompt]),
    }
    template = CHAT_TEMPLATE if prompt == "chatml" else QUESTION_TEMPLATE
    for placeholder, text in placeholders.items():
        template = template.replace(placeholder, text)
    return template


def _audio_config(encoder: AudioEncoder) -> dict[str, Any]:
    layers = [*encoder.layers]
    heads, mlp_width = layers[0].self_attn.num_heads, layers[0].fc1.out_features
    return {
        "model_type": "qwen2_audio_encoder",
        "num_mel_bins": encoder.log_mel.num_mels,
        "d_model": encoder.width,
        "encoder_layers": len(layers),
        "encoder_attention_heads": heads,
        "encoder_ffn_dim": mlp_width,
        "max_source_positions": MAX_POSITIONS,
        "activation_function": "gelu",
        "scale_embedding": False,
    }


def _text_config(config: PretrainedConfig, *, num_rows: int) -> dict[str, Any]:
    settings = {name: value for name, value in config.to_dict().items() if name not in BOOKKEEPING}
    rope = settings.get("rope_parameters")
    return {
        **settings,
        **(_rope_of_transformers_4(rope) if isinstance(rope, Mapping) else {}),
        "vocab_size": num_rows,
        "tie_word_embeddings": False,
    }


def _rope_of_transformers_4(rope: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of rotary positions under their names of transformers 4, also if they differ by layer as in Gemma."""
    if "full_attention" in rope:
        fields = _rope_of_transformers_4(rope["full_attention"])
        local = rope.get("sliding_attention", rope["full_attention"])
        return {**fields, "rope_local_base_freq": local.get("rope_theta", 10_000.0)}
    scaling = {
        name: value for name, value in rope.items() if name not in ("rope_theta", "partial_rotary_factor")
    }
    is_plain = scaling.get("rope_type", "default") == "default"
    return {"rope_theta": rope.get("rope_theta", 10_000.0), "rope_scaling": None if is_plain else scaling}
