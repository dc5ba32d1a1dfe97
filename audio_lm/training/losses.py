"""Sums of losses and learned tokens by task, and their metric.

Shapes: P learned positions, C tasks.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from audio_lm.tasks.registry import CHAT, TASKS
from audio_lm.training.distributed import all_gather_object

LossSums = Mapping[str, Sequence[float]]
"""Task -> summed loss, number of learned tokens."""

NAMES = (*TASKS, CHAT)
NUMBER_OF_NAME = {name: number for number, name in enumerate(NAMES)}


def sums_by_task(losses_P: Tensor, task_index_P: Tensor, tasks: Sequence[str]) -> LossSums:
    """Sum losses and count learned tokens by task.

    Args:
        task_index_P: indices into ``tasks``.
    """
    sums_C = torch.zeros(len(tasks), dtype=losses_P.dtype, device=losses_P.device)
    counts_C = torch.zeros_like(sums_C)
    sums_C.index_add_(0, task_index_P, losses_P)
    counts_C.index_add_(0, task_index_P, torch.ones_like(losses_P))
    return dict(zip(tasks, zip(sums_C.tolist(), counts_C.tolist(), strict=True), strict=True))


class TaskLoss(Metric):
    """Loss per learned token of each task, and of all tasks as ``all``; empty without updates.

    Values are reproducible to the last bit: sums are added in the order of updates and of ranks, and tasks keep the
    order of their first sums.

    Args:
        tensor_parallel: number of adjacent ranks that train on the same packs; one of them is counted.
    """

    is_differentiable = False
    full_state_update = False
    rows: list[Tensor] | Tensor  # (3 * tasks,) float64: number, loss and learned tokens of each task

    def __init__(self, *, tensor_parallel: int = 1) -> None:
        super().__init__(dist_sync_fn=partial(_gather_state, tensor_parallel=tensor_parallel))
        self.add_state("rows", [], dist_reduce_fx="cat")

    def _apply(self, fn: Callable[[Tensor], Tensor], *_: Any, **__: Any) -> "TaskLoss":
        """Stay on the CPU in float64 when the module is moved or cast."""
        return self

    @property
    def sums(self) -> LossSums:
        """Sums of this rank since the last reset."""
        states = [self.rows] if isinstance(self.rows, Tensor) else self.rows
        rows = [row for state in states for row in state.view(state.numel() // 3, 3).tolist()]
        return _add_sums([{NAMES[int(number)]: (loss, tokens)} for number, loss, tokens in rows])

    def update(self, sums: Sequence[LossSums]) -> None:
        """Add the sums of a step.

        Args:
            sums: one for each pack.
        """
        totals = _add_sums([self.sums, _add_sums(sums)])
        rows = [[NUMBER_OF_NAME[task], *pair] for task, pair in totals.items()]
        self.rows = [torch.tensor(rows, dtype=torch.float64).flatten()]

    def compute(self) -> dict[str, float]:
        sums = self.sums
        if not sums:
            return {}
        means = {task: loss / tokens for task, (loss, tokens) in sorted(sums.items()) if tokens}
        loss, tokens = map(sum, zip(*sums.values(), strict=True))
        return means | {"all": loss / max(1.0, tokens)}


def _gather_state(state: Tensor, group: Any, *, tensor_parallel: int) -> list[Tensor]:
    return all_gather_object(state, tensor_parallel=tensor_parallel)


def _add_sums(terms: Sequence[LossSums]) -> dict[str, tuple[float, float]]:
    totals: dict[str, tuple[float, float]] = {}
    for sums in terms:
        for task, (loss, tokens) in sums.items():
            total_loss, total_tokens = totals.get(task, (0.0, 0.0))
            totals[task] = (total_loss + loss, total_tokens + tokens)
    return totals
