"""Sums of losses and learned tokens by task, and their metric.

Sums stay on the device until somebody reads them: reading waits for the device.

Shapes: P learned positions, C tasks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from audio_lm.training.distributed import all_gather_object

LossSums = Mapping[str, Sequence[float]]
"""Task -> summed loss, number of learned tokens."""


class TaskSums(Mapping[str, Sequence[float]]):
    """Summed loss and number of learned tokens of each task, read from the device at the first access."""

    def __init__(self, tasks: Sequence[str], values_2C: Tensor) -> None:
        """Keep the sums where they are.

        Args:
            values_2C: losses and learned tokens of the tasks.
        """
        self.tasks = tuple(tasks)
        self.values_2C = values_2C
        self._sums: dict[str, Sequence[float]] | None = None

    def where(self, is_counted: Tensor) -> "TaskSums":
        """Same sums, or zeros where the condition, a scalar of the device, is false."""
        return TaskSums(self.tasks, torch.where(is_counted, self.values_2C, 0.0))

    @property
    def is_read(self) -> bool:
        """True if the values are on the host."""
        return self._sums is not None

    def fill(self, numbers: Sequence[float]) -> None:
        """Take the values of ``values_2C``, which somebody has read, row by row."""
        losses, counts = numbers[: len(self.tasks)], numbers[len(self.tasks) :]
        self._sums = dict(zip(self.tasks, zip(losses, counts, strict=True), strict=True))

    def __getitem__(self, task: str) -> Sequence[float]:
        return self._read()[task]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return f"TaskSums({self._read()})"

    def _read(self) -> dict[str, Sequence[float]]:
        read_together([self])
        assert self._sums is not None, "just read"
        return self._sums


def sums_by_task(losses_P: Tensor, task_index_P: Tensor, tasks: Sequence[str]) -> TaskSums:
    """Sum losses and count learned tokens by task.

    Args:
        task_index_P: indices into ``tasks``.
    """
    values_2C = torch.zeros(2, len(tasks), dtype=losses_P.dtype, device=losses_P.device)
    values_2C[0].index_add_(0, task_index_P, losses_P.detach())
    values_2C[1].index_add_(0, task_index_P, torch.ones_like(losses_P))
    return TaskSums(tasks, values_2C)


def read_together(sums: Iterable[LossSums]) -> None:
    """Read the sums that are still on a device, all in one copy."""
    unread = [each for each in sums if isinstance(each, TaskSums) and not each.is_read]
    if not unread:
        return
    flat = torch.cat([each.values_2C.detach().reshape(-1).double() for each in unread])
    numbers = iter(flat.tolist())
    for each in unread:
        each.fill([next(numbers) for _ in range(2 * len(each.tasks))])


class TaskLoss(Metric):
    """Loss per learned token of each task, and of all tasks as ``all``; empty without updates.

    Values are reproducible to the last bit: sums are added in the order of updates and of ranks, and tasks keep the
    order of their first sums.

    Args:
        tensor_parallel: number of adjacent ranks that train on the same packs; one of them is counted.
    """

    is_differentiable = False
    full_state_update = False
    rows: (
        list[Tensor] | Tensor
    )  # float64: of each task the length and bytes of its name, loss and learned tokens

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
        return _add_sums([sums for state in states for sums in _decode(state)])

    def update(self, sums: Sequence[LossSums]) -> None:
        """Add the sums of a step.

        Args:
            sums: one for each pack.
        """
        totals = _add_sums([self.sums, _add_sums(sums)])
        self.rows = [_encode(totals)]

    def compute(self) -> dict[str, float]:
        return _means(self.sums)


class TaskMeasures(TaskLoss):
    """Means of several values by task; names are ``value/task``, and ``value/all`` is over all tasks."""

    def add(self, measures: Sequence[Mapping[str, LossSums]]) -> None:
        """Add the sums of a step.

        Args:
            measures: value -> sums by task; one for each pack.
        """
        self.update(
            [
                {f"{name}/{task}": pair for name, sums in of_pack.items() for task, pair in sums.items()}
                for of_pack in measures
            ]
        )

    def compute(self) -> dict[str, float]:
        by_name: dict[str, dict[str, Sequence[float]]] = {}
        for path, pair in self.sums.items():
            name, _, task = path.partition("/")
            by_name.setdefault(name, {})[task] = pair
        return {
            f"{name}/{task}": mean for name, sums in by_name.items() for task, mean in _means(sums).items()
        }


def _means(sums: LossSums) -> dict[str, float]:
    if not sums:
        return {}
    means = {task: loss / tokens for task, (loss, tokens) in sorted(sums.items()) if tokens}
    loss, tokens = map(sum, zip(*sums.values(), strict=True))
    return means | {"all": loss / max(1.0, tokens)}


def _encode(sums: LossSums) -> Tensor:
    """Sums as a tensor that other ranks can read without knowing the tasks."""
    numbers = list[float]()
    for task, pair in sums.items():
        name = task.encode()
        numbers += [len(name), *name, *pair]
    return torch.tensor(numbers, dtype=torch.float64)


def _decode(state: Tensor) -> Iterator[LossSums]:
    numbers = iter(state.tolist())
    for length in numbers:
        name = bytes(int(next(numbers)) for _ in range(int(length))).decode()
        yield {name: (next(numbers), next(numbers))}


def _gather_state(state: Tensor, group: Any, *, tensor_parallel: int) -> list[Tensor]:
    return all_gather_object(state, tensor_parallel=tensor_parallel)


def _add_sums(terms: Sequence[LossSums]) -> dict[str, tuple[float, float]]:
    totals: dict[str, tuple[float, float]] = {}
    for sums in terms:
        for task, (loss, tokens) in sums.items():
            total_loss, total_tokens = totals.get(task, (0.0, 0.0))
            totals[task] = (total_loss + loss, total_tokens + tokens)
    return totals
