"""Times of the first steps of a stage and of one validation, measured before the stage is trained."""

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

from audio_lm.common import compat
from audio_lm.common.audio_units import Seconds
from audio_lm.common.protocols import Condition
from audio_lm.training.distributed import all_gather_object


class StepClock(Callback):
    """Times steps and validation batches, then ends the fit, on all ranks after the same step.

    A fit of steps of under a second goes past ``enough`` steps for ``settling`` seconds: each length of a pack
    is slower the first time, so that the first steps of a small model take up to twice as long as later ones.

    Args:
        skip: first steps, which are slower and not counted.
        enough: counted steps, where they take at least ``settling`` seconds.
        most: counted steps otherwise.
        seconds: after which fewer steps are counted, but one at least.
        is_stopping: True ends the fit after the step.
    """

    settling: Seconds = 5.0

    def __init__(
        self, *, skip: int, enough: int, most: int, seconds: Seconds, is_stopping: Condition = lambda: False
    ) -> None:
        self.skip = skip
        self.enough = enough
        self.most = most
        self.seconds = seconds
        self.is_stopping = is_stopping
        self.reached: float | None = None
        """Moment at which the fit was ready for its first batch."""

        self.times: list[float] = []
        self.validation_times: list[float] = []

    @property
    def step(self) -> Seconds | None:
        """Mean time of a counted step, of the later half if there are over ``enough``; None before the first one."""
        counted = len(self.times) - self.skip
        if counted <= 0:
            return None
        counted = min(counted, max(self.enough, counted // 2))
        return (self.times[-1] - self.times[-1 - counted]) / counted

    @property
    def validation(self) -> Seconds | None:
        """Mean time of a validation batch, the first one left out if there are others; None without validation."""
        times = self.validation_times
        if len(times) < 2:
            return None
        first = 1 if len(times) > 2 else 0
        return (times[-1] - times[first]) / (len(times) - 1 - first)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.reached = time.monotonic()
        if trainer.enable_validation:
            compat.run_validation(trainer)
            trainer.limit_val_batches = 0  # Lightning would validate again when the fit ends
        self.started = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self.times.append(time.monotonic())
        counted, elapsed = len(self.times) - self.skip, self.times[-1] - self.started
        is_enough = (counted >= self.enough and elapsed > self.settling) or (
            counted > 0 and elapsed > self.seconds
        )
        flags = all_gather_object((self.is_stopping(), is_enough))
        is_stopping = any(stops for stops, _ in flags)
        if is_stopping or flags[0][1] or counted == self.most:
            trainer.should_stop = True

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.validation_times.append(time.monotonic())

    def on_validation_batch_end(self, *_: Any) -> None:
        self.validation_times.append(time.monotonic())
