"""Linear layers by oneDNN on CPUs where torch's own matrix products are slow.

In 32 bits torch multiplies with MKL, which uses only AVX2 on processors that are not Intel's; oneDNN uses AVX-512 there
and takes less than half the time. Elsewhere, in 16 bits, for small products and in compiled code, torch's layer runs.
Weights, names and gradients are those of ``nn.Linear``, and both compute in 32 bits.

Shapes: R rows, K inputs, N outputs.
"""

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from audio_lm.common import compat

MIN_PRODUCTS = 1 << 24
"""Multiplications from which oneDNN is used; it spends 0.2 to 0.8 ms on the first product of every new shape."""

NOT_INTEL = ("AuthenticAMD", "HygonGenuine")
PLAIN = (Tensor, nn.Parameter)  # not sharded over ranks, and no fake tensor


class CpuLinear(nn.Linear):
    """Linear layer that chooses the library of its matrix products."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., K) to (..., N)."""
        return linear(input, self.weight, self.bias)


def use_onednn(model: nn.Module) -> None:
    """Give the linear layers of a model their faster products, where this CPU has any; weights and names stay."""
    if is_onednn_faster():
        for module in model.modules():
            # Only torch's own class: a subclass may compute something else.
            if type(module) is nn.Linear:
                module.__class__ = CpuLinear


@cache
def is_onednn_faster() -> bool:
    """Check for a CPU with AVX-512 that MKL does not use."""
    has_avx512 = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return has_avx512 and torch.backends.mkldnn.is_available() and _vendor() in NOT_INTEL


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``, by oneDNN where that is faster.

    Args:
        input: (..., K).
        weight: (N, K).
    """
    # torch.compile chooses the library itself.
    if torch.compiler.is_compiling() or not _fits_onednn(input, weight):
        return F.linear(input, weight, bias)
    output: Tensor = _Linear.apply(input, weight, bias)  # type: ignore[no-untyped-call]
    return output


def _fits_onednn(input: Tensor, weight: Tensor) -> bool:
    return (
        is_onednn_faster()
        and bool(torch.backends.mkldnn.enabled)
        and input.device.type == weight.device.type == "cpu"
        and input.dtype == weight.dtype == torch.float32
        and input.numel() * weight.shape[0] >= MIN_PRODUCTS
        and type(input) in PLAIN
        and type(weight) in PLAIN
        and not torch.is_autocast_enabled("cpu")
    )


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        needs_input, needs_weight, _ = ctx.needs_input_grad
        # Like torch's layer: a frozen weight needs no input for the backward pass, and the first layer no weight.
        ctx.save_for_backward(input if needs_weight else None, weight if needs_input else None)
        ctx.input_shape, ctx.weight_shape = input.shape, weight.shape
        return compat.onednn_linear(input, weight, bias)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        needs_input, needs_weight, needs_bias = ctx.needs_input_grad
        num_outputs, num_inputs = ctx.weight_shape
        grad_RN = grad.reshape(-1, num_outputs)
        grad_input = compat.onednn_linear(grad_RN, weight.T).view(ctx.input_shape) if needs_input else None
        grad_weight = None
        if needs_weight:
            grad_weight = compat.onednn_linear(grad_RN.T, input.reshape(-1, num_inputs).T)
        return grad_input, grad_weight, grad_RN.sum(0) if needs_bias else None


def _vendor() -> str:
    """Name by which the processor identifies its vendor; empty where the system does not tell."""
    table = Path("/proc/cpuinfo")
    if not table.is_file():
        return next((name for name in NOT_INTEL if name in platform.processor()), "")
    lines = (line.partition(":") for line in table.read_text(encoding="utf-8", errors="replace").splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == "vendor_id"), "")
