"""Losses as functions of logits; no model, no Lightning.

Shapes: P learned positions, V vocabulary, C tasks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def next_token_losses(logits_PV: Tensor, labels_P: Tensor) -> Tensor:
    """Cross-entropy of each learned token (P,), in 32 bits.

    Not averaged: who averages over packs and ranks must divide once, by the
    learned tokens of the whole global batch; a mean of means is not the loss.
    """
    return F.cross_entropy(logits_PV.float(), labels_P, reduction="none")


def sums_by_task(losses_P: Tensor, task_index_P: Tensor, num_tasks: int) -> tuple[Tensor, Tensor]:
    """Summed loss and number of learned tokens of each task, both (C,)."""
    sums_C = torch.zeros(num_tasks, dtype=losses_P.dtype, device=losses_P.device)
    counts_C = torch.zeros_like(sums_C)
    sums_C.index_add_(0, task_index_P, losses_P)
    counts_C.index_add_(0, task_index_P, torch.ones_like(losses_P))
    return sums_C, counts_C
