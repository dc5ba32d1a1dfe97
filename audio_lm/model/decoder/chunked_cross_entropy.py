"""Fused output layer and cross-entropy at the learned positions, computed in chunks.

The logits of all positions are never in memory at once. The forward pass computes the gradients of each chunk while
its logits exist, and saves them for the backward pass; they have the size of the hidden states and of the output
layer. Softmax and loss are in 32 bits.

Shapes: P learned positions, C positions of a chunk, D width, V tokens.
Source: fused linear cross-entropy of Liger Kernel (arXiv:2410.10989, section 3.2), here in plain torch and for any
output layer.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_lm.common import compat
from audio_lm.common.transfer import is_on_host

CHUNK_VALUES = 1 << 27  # logits in memory at a time, 512 MiB


Weights = float | Tensor
"""Factor of every position, or (P,) one of each."""


class NextTokenLoss(NamedTuple):
    """The training loss and the loss of each position."""

    total: Tensor
    """Weighted sum over the learned positions; differentiable."""

    losses: Tensor
    """(P,) cross-entropy of each learned position; not differentiable while training."""


class LogitsOf(Protocol):
    """Output layer."""

    def __call__(self, hidden_PD: Tensor, /) -> Tensor:
        """(P, V) logits."""


def next_token_loss(
    logits_of: LogitsOf,
    parameters: Sequence[nn.Parameter],
    hidden_PD: Tensor,
    labels_P: Tensor,
    *,
    num_rows: int,
    weight: Weights = 1.0,
    chunk_values: int = CHUNK_VALUES,
) -> NextTokenLoss:
    """Next-token cross-entropy.

    Args:
        logits_of: the output layer, (C, D) to (C, V) for any C.
        parameters: all parameters of the output layer.
        labels_P: token to predict at each position.
        num_rows: V, which determines the number of positions per chunk.
        weight: factor of every position in the total, such as 1 / (learned tokens of all ranks), or one of each.
    """
    chunk = max(1, chunk_values // num_rows)
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not torch.is_grad_enabled() or not (hidden_PD.requires_grad or trained):
        chunks = zip(hidden_PD.split(chunk), labels_P.split(chunk), strict=True)
        losses_P = torch.cat([_losses(logits_of(hidden), labels) for hidden, labels in chunks])
        return NextTokenLoss(_weighted_sum(losses_P, weight), losses_P)
    total, losses_P = _ChunkedCrossEntropy.apply(logits_of, chunk, weight, labels_P, hidden_PD, *trained)
    return NextTokenLoss(total, losses_P)


def _weighted_sum(losses_P: Tensor, weight: Weights) -> Tensor:
    return (losses_P * weight).sum() if isinstance(weight, Tensor) else losses_P.sum() * weight


def _losses(logits_CV: Tensor, labels_C: Tensor) -> Tensor:
    return F.cross_entropy(logits_CV.float(), labels_C, reduction="none")


def _loss_and_gradient(logits_CV: Tensor, labels_C: Tensor, weight: Weights) -> tuple[Tensor, Tensor]:
    """Losses (C,) and the gradient (C, V) of their weighted sum; overwrites the logits if they are in 32 bits."""
    index_C1 = labels_C[:, None]
    weight_C1 = weight[:, None] if isinstance(weight, Tensor) else weight
    scores_CV = logits_CV.float()  # shares memory with logits in 32 bits
    scores_CV.sub_(scores_CV.amax(1, keepdim=True))
    target_C1 = scores_CV.gather(1, index_C1)
    sums_C1 = scores_CV.exp_().sum(1, keepdim=True)
    scores_CV.mul_(weight_C1 / sums_C1)
    scores_CV.scatter_add_(1, index_C1, torch.ones_like(target_C1) * -weight_C1)
    return (sums_C1.log() - target_C1)[:, 0], scores_CV.to(logits_CV.dtype)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits_of: LogitsOf,
        chunk: int,
        weight: Weights,
        labels_P: Tensor,
        hidden_PD: Tensor,
        *trained: Tensor,
    ) -> tuple[Tensor, Tensor]:
        grad_PD, losses, grad_sums = torch.empty_like(hidden_PD), [], None
        for start in range(0, len(labels_P), chunk):
            part = slice(start, start + chunk)
            with torch.enable_grad():
                hidden_CD = hidden_PD[part].detach().requires_grad_()
                logits_CV = logits_of(hidden_CD)
            weight_C = weight[part] if isinstance(weight, Tensor) else weight
            losses_C, grad_CV = _loss_and_gradient(logits_CV.detach(), labels_P[part], weight_C)
            grad_PD[part], *grads = torch.autograd.grad(logits_CV, [hidden_CD, *trained], grad_CV)
            losses.append(losses_C)
            if grad_sums is None:
                grad_sums = grads
            elif grad_sums:
                compat.foreach_add(grad_sums, grads)
        losses_P = torch.cat(losses) if losses else labels_P.new_zeros(0, dtype=torch.float32)
        ctx.save_for_backward(grad_PD, *(grad_sums or [torch.zeros_like(parameter) for parameter in trained]))
        ctx.mark_non_differentiable(losses_P)
        return _weighted_sum(losses_P, weight), losses_P

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        # In place: the saved gradients of the output layer become its gradient without a copy.
        is_one = is_on_host(grad) and grad.item() == 1.0
        saved = ctx.saved_tensors
        return None, None, None, None, *(saved if is_one else (tensor.mul_(grad) for tensor in saved))
