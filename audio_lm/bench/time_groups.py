"""Time of a training step by kind of operation, from torch's profiler."""

from collections import defaultdict

import torch
from torch.profiler import ProfilerActivity, profile

from audio_lm.common.protocols import Factory

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("attention", ("documents", "flash_attention", "varlen", "flash_attn")),
    ("matrix products", ("aten::mm", "aten::addmm", "aten::bmm", "_linear_pointwise", "linear_cross")),
    ("optimizer", ("adamw", "optimizer")),
    ("softmax over the vocabulary", ("aten::exp_", "amax", "scatter_add", "aten::sub_", "aten::mul_")),
    ("activations and norms", ("gelu", "silu", "norm", "rsqrt", "aten::pow", "aten::mean")),
    ("log-mel", ("fft", "stft", "log10")),
    ("copies and zeros", ("copy", "fill_", "zero", "aten::cat", "contiguous", "index", "embedding")),
)
"""Group -> parts of the names of its operations; the first group that fits counts."""

OTHER = "other"


def group_of(name: str) -> str:
    """Group of an operation.

    >>> group_of("aten::addmm"), group_of("aten::view")
    ('matrix products', 'other')
    """
    lowered = name.lower()
    return next((group for group, parts in GROUPS if any(part in lowered for part in parts)), OTHER)


def time_shares(run: Factory[object], device: torch.device) -> dict[str, float]:
    """Share of each group in the time of ``run``, the largest first: of the CPU, or of the kernels of a GPU."""
    is_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if is_gpu else ProfilerActivity.CPU]) as profiler:
        run()
    times: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        times[group_of(event.key)] += event.self_device_time_total if is_gpu else event.self_cpu_time_total
    total = sum(times.values()) or 1.0
    return {group: time / total for group, time in sorted(times.items(), key=lambda item: -item[1])}
