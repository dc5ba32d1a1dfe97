"""Output layer and cross-entropy in one, at the learned positions only, a few at a time.

All logits of a large vocabulary never stand in memory together: each chunk's gradients are formed
while its logits are there, in the forward pass, and wait for the backward pass in the size of
what went in. Softmax and loss are in 32 bits.

Shapes: P learned positions, D width, V tokens.
Source: the scheme of Liger Kernel (arXiv:2410.10989, section 3.2), here in torch alone for any output layer.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHUNK_VALUES = 1 << 27  # logits that stand in memory together, 512 MiB


class NextTokenLoss(NamedTuple):
    """The loss to learn from, and what it consists of."""

    total: Tensor
    """Weighted sum over the learned positions; has gradients."""

    losses: Tensor
    """Cross-entropy of each learned position (P,), to be read only."""


def next_token_loss(
    logits_of: Callable[[Tensor], Tensor],
    parameters: Sequence[nn.Parameter],
    hidden_PD: Tensor,
    labels_P: Tensor,
    *,
    num_rows: int,
    weight: float = 1.0,
    chunk_values: int = CHUNK_VALUES,
) -> NextTokenLoss:
    """Loss of the tokens that follow.

    Args:
        logits_of: the output layer, (C, D) to (C, V) for any C.
        parameters: all that it computes with.
        num_rows: V, from which the size of a chunk follows.
        weight: of every position in the total, such as 1 over the learned tokens of all ranks.
    """
    chunk = max(1, chunk_values // num_rows)
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not torch.is_grad_enabled() or not (hidden_PD.requires_grad or trained):
        chunks = zip(hidden_PD.split(chunk), labels_P.split(chunk), strict=True)
        losses_P = torch.cat([_losses(logits_of(hidden), labels) for hidden, labels in chunks])
        return NextTokenLoss(losses_P.sum() * weight, losses_P)
    total, losses_P = _InChunks.apply(logits_of, chunk, weight, labels_P, hidden_PD, *trained)
    return NextTokenLoss(total, losses_P)


def _losses(logits_CV: Tensor, labels_C: Tensor) -> Tensor:
    return F.cross_entropy(logits_CV.float(), labels_C, reduction="none")


def _loss_and_gradient(logits_CV: Tensor, labels_C: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """Losses (C,), and what their weighted sum asks of the logits (C, V), written where the logits stood."""
    of_label_C1 = labels_C[:, None]
    scores_CV = logits_CV.float()  # the same memory in 32 bits
    scores_CV.sub_(scores_CV.amax(1, keepdim=True))
    chosen_C1 = scores_CV.gather(1, of_label_C1)
    sums_C1 = scores_CV.exp_().sum(1, keepdim=True)
    scores_CV.mul_(weight / sums_C1)
    scores_CV.scatter_add_(1, of_label_C1, torch.full_like(chosen_C1, -weight))
    return (sums_C1.log() - chosen_C1)[:, 0], scores_CV.to(logits_CV.dtype)


class _InChunks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits_of: Callable[[Tensor], Tensor],
        chunk: int,
        weight: float,
        labels_P: Tensor,
        hidden_PD: Tensor,
        *trained: Tensor,
    ) -> tuple[Tensor, Tensor]:
        grad_PD, losses, sums = torch.empty_like(hidden_PD), [], None
        for start in range(0, len(labels_P), chunk):
            part = slice(start, start + chunk)
            with torch.enable_grad():
                hidden_CD = hidden_PD[part].detach().requires_grad_()
                logits_CV = logits_of(hidden_CD)
            losses_C, grad_CV = _loss_and_gradient(logits_CV.detach(), labels_P[part], weight)
            grad_PD[part], *of_trained = torch.autograd.grad(logits_CV, [hidden_CD, *trained], grad_CV)
            losses.append(losses_C)
            if sums is None:
                sums = of_trained
            elif sums:
                torch._foreach_add_(sums, of_trained)
        losses_P = torch.cat(losses) if losses else labels_P.new_zeros(0, dtype=torch.float32)
        ctx.save_for_backward(grad_PD, *(sums or [torch.zeros_like(one) for one in trained]))
        ctx.mark_non_differentiable(losses_P)
        return losses_P.sum() * weight, losses_P

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        # In place: what was kept for the output layer becomes its gradient, not a copy of it.
        is_one = grad.device.type == "cpu" and grad.item() == 1.0
        kept = ctx.saved_tensors
        return None, None, None, None, *(kept if is_one else (saved.mul_(grad) for saved in kept))
