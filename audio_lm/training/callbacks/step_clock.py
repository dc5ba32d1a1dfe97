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

    Args:
        skip: first steps, which are slower and not counted.
        most: counted steps.
        seconds: after which fewer steps are counted, but one at least.
        is_stopping: True ends the fit after the step.
    """

    def __init__(
        self, *, skip: int, most: int, seconds: Seconds, is_stopping: Condition = lambda: False
    ) -> None:
        self.skip = skip
        self.most = most
        self.seconds = seconds
        self.is_stopping = is_stopping
        self.reached: float | None = None
        """Moment at which the fit was ready for its first batch."""

        self.times: list[float] = []
        self.validation_times: list[float] = []

    @property
    def step(self) -> Seconds | None:
        """Mean time of a counted step; None before the first one."""
        counted = len(self.times) - self.skip
        return (self.times[-1] - self.times[self.skip - 1]) / counted if counted > 0 else None

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
        is_late = len(self.times) > self.skip and self.times[-1] - self.started > self.seconds
        flags = all_gather_object((self.is_stopping(), is_late))
        is_stopping = any(stops for stops, _ in flags)
        if is_stopping or flags[0][1] or len(self.times) == self.skip + self.most:
            trainer.should_stop = True

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.validation_times.append(time.monotonic())

    def on_validation_batch_end(self, *_: Any) -> None:
        self.validation_times.append(time.monotonic())
