"""What losses add up to, by task; no model.

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
"""Of each task: summed loss, learned tokens."""

NAMES = (*TASKS, CHAT)
NUMBER_OF_NAME = {name: number for number, name in enumerate(NAMES)}


def sums_by_task(losses_P: Tensor, task_index_P: Tensor, tasks: Sequence[str]) -> LossSums:
    """Summed loss and number of learned tokens of each task.

    Args:
        task_index_P: into ``tasks``.
    """
    sums_C = torch.zeros(len(tasks), dtype=losses_P.dtype, device=losses_P.device)
    counts_C = torch.zeros_like(sums_C)
    sums_C.index_add_(0, task_index_P, losses_P)
    counts_C.index_add_(0, task_index_P, torch.ones_like(losses_P))
    return dict(zip(tasks, zip(sums_C.tolist(), counts_C.tolist(), strict=True), strict=True))


class TaskLoss(Metric):
    """Loss per learned token of each task, and of all of them as ``all``; empty where nothing was added.

    Sums are added in the order in which they come, those of ranks in the order of ranks, and tasks are kept in the
    order of their first sums: to the last bit, a value depends on nothing else.

    Args:
        tensor_parallel: neighbouring ranks that have the same packs, of which one counts.
    """

    is_differentiable = False
    full_state_update = False
    rows: list[Tensor] | Tensor  # (3 * tasks,) float64: of each task its number, loss and learned tokens

    def __init__(self, *, tensor_parallel: int = 1) -> None:
        super().__init__(dist_sync_fn=partial(_gathered, tensor_parallel=tensor_parallel))
        self.add_state("rows", [], dist_reduce_fx="cat")

    def _apply(self, fn: Callable[[Tensor], Tensor], *_: Any, **__: Any) -> "TaskLoss":
        """Stay on the CPU in double precision, whatever is done to the model."""
        return self

    @property
    def sums(self) -> LossSums:
        """What was added up."""
        pieces = [self.rows] if isinstance(self.rows, Tensor) else self.rows
        rows = [row for piece in pieces for row in piece.view(piece.numel() // 3, 3).tolist()]
        return _added([{NAMES[int(number)]: (loss, tokens)} for number, loss, tokens in rows])

    def update(self, sums: Sequence[LossSums]) -> None:
        """Add what was summed over the packs of a step.

        Args:
            sums: of each pack.
        """
        added = _added([self.sums, _added(sums)])
        rows = [[NUMBER_OF_NAME[task], *pair] for task, pair in added.items()]
        self.rows = [torch.tensor(rows, dtype=torch.float64).flatten()]

    def compute(self) -> dict[str, float]:
        sums = self.sums
        if not sums:
            return {}
        means = {task: loss / tokens for task, (loss, tokens) in sorted(sums.items()) if tokens}
        loss, tokens = map(sum, zip(*sums.values(), strict=True))
        return means | {"all": loss / max(1.0, tokens)}


def _gathered(state: Tensor, group: Any, *, tensor_parallel: int) -> list[Tensor]:
    return all_gather_object(state, tensor_parallel=tensor_parallel)


def _added(several: Sequence[LossSums]) -> dict[str, tuple[float, float]]:
    added: dict[str, tuple[float, float]] = {}
    for sums in several:
        for task, (loss, tokens) in sums.items():
            before = added.get(task, (0.0, 0.0))
            added[task] = (before[0] + loss, before[1] + tokens)
    return added
