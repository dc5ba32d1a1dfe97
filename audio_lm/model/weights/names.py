"""Tables of our weight names and those of published files.

A row has two module names; ``{}`` is a layer number, and the rest of a weight's name (``.weight``, ``.bias``) is
kept. Names of published files do not change, unlike those inside ``transformers``. Our encoder has the names of
``transformers``, and our language model is one of its models.

Source: the files of Qwen2-Audio, openai's Whisper and Qwen-Audio.
"""

Rows = tuple[tuple[str, str], ...]

WHISPER: Rows = (
    # ours                              openai's Whisper, and the encoder of Qwen-Audio
    ("conv{}", "conv{}"),
    ("embed_positions.weight", "positional_embedding"),
    ("layers.{}.self_attn.q_proj", "blocks.{}.attn.query"),
    ("layers.{}.self_attn.k_proj", "blocks.{}.attn.key"),
    ("layers.{}.self_attn.v_proj", "blocks.{}.attn.value"),
    ("layers.{}.self_attn.out_proj", "blocks.{}.attn.out"),
    ("layers.{}.self_attn_layer_norm", "blocks.{}.attn_ln"),
    ("layers.{}.fc1", "blocks.{}.mlp.0"),
    ("layers.{}.fc2", "blocks.{}.mlp.2"),
    ("layers.{}.final_layer_norm", "blocks.{}.mlp_ln"),
    ("layer_norm", "ln_post"),
)

QWEN2_AUDIO: Rows = (
    # ours             released files, which transformers 4 and 5 both read
    ("encoder", "audio_tower"),
    ("projector.linear", "multi_modal_projector.linear"),
    ("language_model", "language_model"),
)

QWEN2_AUDIO_5: Rows = (
    # ours                   state dict of the same model in transformers 5
    ("encoder", "model.audio_tower"),
    ("projector.linear", "model.multi_modal_projector.linear"),
    ("language_model.model", "model.language_model"),
    ("language_model.lm_head", "lm_head"),
)

QWEN_AUDIO: Rows = (
    # ours                   Qwen-Audio, after its fused projection was split
    *((f"encoder.{ours}", f"transformer.audio.{theirs}") for ours, theirs in WHISPER),
    ("projector.linear", "transformer.audio.proj"),
    ("language_model.model.embed_tokens", "transformer.wte"),
    ("language_model.model.layers.{}.input_layernorm", "transformer.h.{}.ln_1"),
    ("language_model.model.layers.{}.self_attn.q_proj", "transformer.h.{}.attn.query"),
    ("language_model.model.layers.{}.self_attn.k_proj", "transformer.h.{}.attn.key"),
    ("language_model.model.layers.{}.self_attn.v_proj", "transformer.h.{}.attn.value"),
    ("language_model.model.layers.{}.self_attn.o_proj", "transformer.h.{}.attn.c_proj"),
    ("language_model.model.layers.{}.post_attention_layernorm", "transformer.h.{}.ln_2"),
    ("language_model.model.layers.{}.mlp.up_proj", "transformer.h.{}.mlp.w1"),
    ("language_model.model.layers.{}.mlp.gate_proj", "transformer.h.{}.mlp.w2"),
    ("language_model.model.layers.{}.mlp.down_proj", "transformer.h.{}.mlp.c_proj"),
    ("language_model.model.norm", "transformer.ln_f"),
    ("language_model.lm_head", "lm_head"),
)

ENCODER_PREFIXES = (
    "model.audio_tower.",
    "audio_tower.",
    "transformer.audio.",
    "model.encoder.",
    "encoder.",
    "",
)
"""Prefixes of a Whisper encoder in published files: Qwen2-Audio of transformers 5 and 4, Qwen-Audio, then Whisper."""
