"""Shortest possible time of a training step on this machine, from its operations and its memory traffic.

A step has two phases: the forward and backward pass, and the optimizer. A phase cannot be faster than its operations at
the rate of a large matrix product, nor than its bytes at the rate of a large copy; the longer of both counts, and the
phases follow each other.

Bytes are those that no implementation avoids. Weights: one pass over them for the forward pass, one for the gradient of
the inputs, and one that writes their gradient. Activations: what is saved for the backward pass is written once and read
once. AdamW: weight, gradient and two moments are read, and all but the gradient are written. Logits are not counted,
because they could stay in the cache.

Source: the roofline model, Williams et al. 2009, doi:10.1145/1498765.1498785; AdamW, arXiv:1711.05101, algorithm 2.
"""

import statistics
import time
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from audio_lm.bench.flops import part_passes
from audio_lm.common.protocols import Factory
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.cpu_linear import linear
from audio_lm.model.weights.part_names import part_of

ADAMW_ACCESSES = 7
"""Values that AdamW reads or writes per weight: four reads and three writes."""

MATRIX_WIDTH = 2048
COPIED_VALUES = 1 << 26  # 256 MiB in 32 bits: more than any cache
REPEATS = 5


@dataclass(frozen=True)
class Rates:
    """Speed of this machine."""

    flops_per_s: float
    """Operations of a large matrix product per second: in 16 bits on a GPU, with the faster library on a CPU."""

    bytes_per_s: float
    """Bytes that a large copy reads and writes per second."""


@dataclass(frozen=True)
class Phase:
    """Work of a part of a step."""

    flops: float
    num_bytes: float

    def seconds(self, rates: Rates) -> float:
        """Shortest possible time."""
        return max(self.flops / rates.flops_per_s, self.num_bytes / rates.bytes_per_s)


def step_phases(
    model: AudioLM, trained: Collection[str], *, flops: float, saved_bytes: float
) -> dict[str, Phase]:
    """Phases of a step.

    Args:
        trained: trained parts.
        flops: operations of the forward and backward pass.
        saved_bytes: bytes of activations saved for the backward pass.
    """
    return {
        "passes": Phase(flops, weight_bytes(model, trained) + 2 * saved_bytes),
        "optimizer": Phase(0.0, ADAMW_ACCESSES * trained_bytes(model, trained)),
    }


def weight_bytes(model: AudioLM, trained: Collection[str]) -> float:
    """Bytes of weights and their gradients that the forward and backward pass read or write."""
    passes = part_passes(trained)
    table = model.language_model.get_input_embeddings().weight
    is_tied = table is model.language_model.get_output_embeddings().weight
    total = 0
    for name, parameter in model.named_parameters():
        part = part_of(name)
        # Low-rank updates and the projector have all passes if they are trained.
        count = passes.get(part, 3 if part in trained else 1)
        if parameter is table and not is_tied:
            # The forward pass reads a few rows; the gradient has all of them.
            count = int(part in trained)
        total += count * _bytes_of(parameter)
    return float(total)


def trained_bytes(model: AudioLM, trained: Collection[str]) -> float:
    """Bytes of all trained weights."""
    named = model.named_parameters()
    return float(sum(_bytes_of(parameter) for name, parameter in named if part_of(name) in trained))


def measure_rates(device: torch.device) -> Rates:
    """Measure the speed of this machine; medians."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    matrix = torch.randn(MATRIX_WIDTH, MATRIX_WIDTH, device=device, dtype=dtype)
    source = torch.ones(COPIED_VALUES, device=device)
    target = torch.zeros_like(source)
    products = (lambda: matrix @ matrix, lambda: linear(matrix, matrix))
    flops = 2.0 * MATRIX_WIDTH**3
    return Rates(
        flops_per_s=max(flops / _median_seconds(product, device) for product in products),
        bytes_per_s=2.0 * _bytes_of(source) / _median_seconds(lambda: target.copy_(source), device),
    )


def clock(device: torch.device) -> float:
    """CPU time of this process in seconds; wall-clock time once a GPU has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def _median_seconds(run: Factory[Tensor], device: torch.device) -> float:
    run()
    seconds = []
    for _ in range(REPEATS):
        start = clock(device)
        run()
        seconds.append(clock(device) - start)
    return statistics.median(seconds)


def _bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
