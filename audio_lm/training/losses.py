"""What losses add up to; no model, no Lightning.

Shapes: P learned positions, C tasks.
"""

import torch
from torch import Tensor


def sums_by_task(losses_P: Tensor, task_index_P: Tensor, num_tasks: int) -> tuple[Tensor, Tensor]:
    """Summed loss and number of learned tokens of each task, both (C,)."""
    sums_C = torch.zeros(num_tasks, dtype=losses_P.dtype, device=losses_P.device)
    counts_C = torch.zeros_like(sums_C)
    sums_C.index_add_(0, task_index_P, losses_P)
    counts_C.index_add_(0, task_index_P, torch.ones_like(losses_P))
    return sums_C, counts_C
