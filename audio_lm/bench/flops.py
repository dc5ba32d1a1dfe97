"""Floating-point operations a step cannot do without, from closed formulas.

Only what is useful counts: real frames, real tokens, learned positions; no padding and
nothing computed twice. Two for each multiply-add of a matrix product; sums over softmax,
norms and activations are left out, as is usual.

Source: "useful MFU" after PaLM, arXiv:2204.02311, appendix B, with the work of frozen parts as it is:
forward 1, backward to the inputs 1, backward to the weights 1.
"""

import itertools
from collections.abc import Collection

from torch import nn

from audio_lm.common.packed_batch import PackedBatch
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.encoders.packed_layout import packed_layout
from audio_lm.model.encoders.whisper import AudioEncoder
from audio_lm.model.weights.part_names import SUFFIX


def step_flops(model: AudioLM, pack: PackedBatch, trained: Collection[str]) -> float:
    """Operations of forward and backward over one pack.

    Args:
        trained: parts that learn.
    """
    of_encoder, of_decoder = encoder_flops(model, pack), language_model_flops(model, pack)
    is_encoder = _passes("encoder", trained, before=())
    times_encoder = 1 + is_encoder + ("encoder" in trained)
    times_said = 1 + _passes("language_model", trained, before=("encoder", "projector", "new_tokens"))
    times_said += "language_model" in trained
    return times_encoder * of_encoder + times_said * (of_decoder + head_flops(model, pack))


def encoder_flops(model: AudioLM, pack: PackedBatch) -> float:
    """Of the forward pass through convolutions, layers and projector."""
    encoder = model.encoder
    if not isinstance(encoder, AudioEncoder) or not pack.num_samples:
        return 0.0
    frames = [int(count) for count in packed_layout(pack.num_samples).conv_frames]
    total = sum(frames)
    convolutions = 2 * total * (2 * encoder.conv1.weight.numel() + encoder.conv2.weight.numel())
    layers = 2 * total * _matrix_weights(encoder.layers)
    attention = 4 * sum(count**2 for count in frames) * encoder.width * len(encoder.layers)
    projector = 2 * pack.audio_index.numel() * _matrix_weights(model.projector)
    return float(convolutions + layers + attention + projector)


def language_model_flops(model: AudioLM, pack: PackedBatch) -> float:
    """Of the forward pass through the layers; each token attends to those before it."""
    config = model.language_model.config
    lengths = [end - start for start, end in itertools.pairwise(pack.cu_seq_lens.tolist())]
    tables = {id(table) for table in (_table(model, "input"), _table(model, "output"))}
    weights = sum(
        one.numel() for one in model.language_model.parameters() if one.ndim == 2 and id(one) not in tables
    )
    head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    width = head_width * config.num_attention_heads
    attention = 2 * sum(length**2 for length in lengths) * width * config.num_hidden_layers
    return float(2 * sum(lengths) * weights + attention)


def head_flops(model: AudioLM, pack: PackedBatch) -> float:
    """Of the logits at the learned positions."""
    rows = _table(model, "output").numel() + model.new_tokens.output.numel()
    return float(2 * pack.num_learned * rows)


def _passes(part: str, trained: Collection[str], *, before: Collection[str]) -> bool:
    """Whether gradients go through a part: it learns, its updates do, or something under it does."""
    return any(name in trained or f"{name}{SUFFIX}" in trained for name in (part, *before))


def _table(model: AudioLM, which: str) -> nn.Parameter:
    language_model = model.language_model
    module = (
        language_model.get_input_embeddings() if which == "input" else language_model.get_output_embeddings()
    )
    weight: nn.Parameter = module.weight
    return weight


def _matrix_weights(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters() if one.ndim == 2)
