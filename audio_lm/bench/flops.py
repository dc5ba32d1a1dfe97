"""Number of necessary floating-point operations of a step, from closed formulas.

Only useful work counts: frames of clips, tokens of conversations and learned positions, without padding and
recomputation. A multiply-add of a matrix product counts as two operations; softmax, norms and activation functions are
neglected, as usual.

Source: MFU as in PaLM, arXiv:2204.02311, appendix B, also for frozen parts: relative to the forward pass, the gradients
of the inputs cost 1 and the gradients of the weights 1.
"""

import itertools
from collections.abc import Collection

from torch import Tensor, nn

from audio_lm.common.packed_batch import PackedBatch
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.decoder.language_model import input_table, output_table
from audio_lm.model.encoders.packed_layout import packed_layout
from audio_lm.model.encoders.whisper import AudioEncoder
from audio_lm.model.weights.part_names import SUFFIX


def step_flops(model: AudioLM, pack: PackedBatch, trained: Collection[str]) -> float:
    """Operations of the forward and backward pass over one pack.

    Args:
        trained: trained parts.
    """
    encoder, decoder = encoder_flops(model, pack), language_model_flops(model, pack)
    encoder_passes = 1 + _has_gradient("encoder", trained, earlier=()) + ("encoder" in trained)
    decoder_passes = 1 + _has_gradient(
        "language_model", trained, earlier=("encoder", "projector", "new_tokens")
    )
    decoder_passes += "language_model" in trained
    return encoder_passes * encoder + decoder_passes * (decoder + head_flops(model, pack))


def encoder_flops(model: AudioLM, pack: PackedBatch) -> float:
    """Operations of the forward pass through convolutions, layers and projector."""
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
    """Operations of the forward pass through the layers, with causal attention."""
    config = model.language_model.config
    lengths = [end - start for start, end in itertools.pairwise(pack.cu_seq_lens.tolist())]
    tables = {id(table) for table in (_table(model, "input"), _table(model, "output"))}
    weights = sum(
        parameter.numel()
        for parameter in model.language_model.parameters()
        if parameter.ndim == 2 and id(parameter) not in tables
    )
    head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    width = head_width * config.num_attention_heads
    attention = 2 * sum(length**2 for length in lengths) * width * config.num_hidden_layers
    return float(2 * sum(lengths) * weights + attention)


def head_flops(model: AudioLM, pack: PackedBatch) -> float:
    """Operations of the forward pass through the output layer, at the learned positions."""
    rows = _table(model, "output").numel() + model.new_tokens.output.numel()
    return float(2 * pack.num_learned * rows)


def _has_gradient(part: str, trained: Collection[str], *, earlier: Collection[str]) -> bool:
    """True if gradients pass through a part: it, its updates or an earlier part is trained."""
    return any(name in trained or f"{name}{SUFFIX}" in trained for name in (part, *earlier))


def _table(model: AudioLM, which: str) -> Tensor:
    table = input_table if which == "input" else output_table
    return table(model.language_model).weight


def _matrix_weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim == 2)
