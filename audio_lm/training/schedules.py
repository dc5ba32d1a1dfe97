"""Learning-rate schedules, as functions of the step alone.

Source: warm-up and cosine with a floor, arXiv:2311.07919, table 6.
"""

import math
from typing import Literal, Protocol

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class RateFactor(Protocol):
    """Factor of the peak rates at a step."""

    def __call__(self, step: int, /) -> float:
        """Compute the factor."""


class StepSchedule(LRScheduler):
    """Rates of all parameter groups at a step: ``peak_lr`` of the group times a factor.

    A scheduler of torch, so that Lightning's ``LearningRateMonitor`` finds it. It has no state of its own: the step
    is set by ``seek``.
    """

    def __init__(self, optimizer: Optimizer, factor: RateFactor) -> None:
        self.factor = factor
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Rates at the current step, one per group."""
        return [group["peak_lr"] * self.factor(self.last_epoch) for group in self.optimizer.param_groups]

    def seek(self, step: int) -> None:
        """Set the rates of a step."""
        self.last_epoch = step
        self._last_lr = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr


def rate_factor(
    step: int, *, kind: Literal["cosine", "linear", "constant"], steps: int, warmup_steps: int, floor: float
) -> float:
    """Factor of the peak rate at a step.

    Args:
        floor: the factor at the last step, ``min_lr / peak_lr``.

    >>> [round(rate_factor(step, kind="cosine", steps=10, warmup_steps=2, floor=0.1), 2) for step in (0, 1, 2, 10)]
    [0.5, 1.0, 1.0, 0.1]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    if kind == "constant":
        return 1.0
    shape = (1 + math.cos(math.pi * progress)) / 2 if kind == "cosine" else 1 - progress
    return floor + (1 - floor) * shape
