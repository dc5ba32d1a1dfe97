"""What a stage does about being ended: all ranks stop after the same step, and a watchdog knows what each is at.

Lightning's own answers to signals save from inside the handler, where ranks that
were told a moment apart wait for each other for ever; they are taken out.
Source: Lightning #21406; ``signal_connector.py`` and ``training_epoch_loop.py`` of Lightning 2.6.
"""

import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from lightning import Callback, LightningModule, Trainer

from audio_lm.common.audio_units import Seconds
from audio_lm.common.env import rank
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.fault_tolerance.heartbeat import Heartbeat
from audio_lm.fault_tolerance.signals import LOST, SIGNALS, decode_signal, encode_signal
from audio_lm.training.callbacks.checkpoint import validates

SAME_SIGNAL: Seconds = 1.0
BETWEEN_HURRIES = 50  # steps


class Saves(Protocol):
    """Can write a checkpoint of the step that has just ended, all ranks together."""

    def save(self, trainer: Trainer) -> None:
        """Write it, unless it is there."""


def disable_lightning_signals(trainer: Trainer) -> None:
    """Take Lightning's signal handlers out, and what it sends between the ranks for them in every step."""
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


class PreemptionCallback(Callback):
    """Ends the stage after the step in which any rank was told to stop, with a checkpoint of it on all ranks.

    Ctrl-C is heard only while a stage is trained; the second one ends the process at once. A
    launcher passes on what the ranks have had from the terminal themselves, so what
    comes at once after the first is still the first.

    Args:
        agreed: the largest of the ranks' numbers.
        is_lost: whether a newer start has the run; then all ranks leave after the step, and nothing is saved.
        lost: what is raised then.
    """

    def __init__(
        self,
        checkpoint: Saves,
        agreed: Callable[[int], int],
        *,
        is_lost: Callable[[], bool] = bool,
        lost: Callable[[], Exception] = RuntimeError,
    ) -> None:
        self.checkpoint = checkpoint
        self.agreed = agreed
        self.is_lost = is_lost
        self.lost = lost
        self.note = 0
        self.interrupted = 0
        self.before: Any = None

    @property
    def told(self) -> tuple[int, int]:
        """The signal and the rank that had it; zeros when nobody was told."""
        return decode_signal(self.note)

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        disable_lightning_signals(trainer)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.before = signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self.interrupted:
            self.interrupted, self.since = number, time.monotonic()
        elif time.monotonic() - self.since > SAME_SIGNAL:
            signal.signal(number, self.before)
            os.kill(os.getpid(), number)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if self.note:
            return
        own = LOST if self.is_lost() else encode_signal(self.interrupted or SIGNALS.received, rank())
        self.note = self.agreed(own)
        if self.note >= LOST:
            raise self.lost()
        if self.note and not validates(trainer):
            self._stop(trainer)
            # Lightning would validate because it stops.
            trainer.fit_loop.epoch_loop._should_check_val_fx = lambda _: False  # type: ignore[method-assign]

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.note:
            self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        self.checkpoint.save(trainer)
        trainer.should_stop = True

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)


class HeartbeatCallback(Callback):
    """Says what the rank is at, and what it dies of.

    Args:
        note_error: called at once when the stage fails, before anything is taken down.
        hurry: sets after how long ranks give up on each other.
    """

    def __init__(
        self,
        heartbeat: Heartbeat,
        name: str,
        *,
        steps: int,
        note_error: Callable[[BaseException], object],
        hurry: Callable[[Seconds], object],
    ) -> None:
        self.heartbeat = heartbeat
        self.name = name
        self.steps = steps
        self.note_error = note_error
        self.hurry = hurry
        self.num_seen = 0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.heartbeat.begin_stage(self.name, step=trainer.global_step, steps=self.steps)
        self._wait_for_data()

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: tuple[PackedBatch, ...], batch_idx: int
    ) -> None:
        self.heartbeat.clip_ids = tuple(cut_id for pack in batch for cut_id in pack.cut_ids)
        self.began, self.worked = time.monotonic(), time.thread_time()
        self.heartbeat.phase("step", self.heartbeat.step_limit)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self.num_seen += 1
        if self.num_seen > 1:  # the first one also sets things up
            waited = self.began - self.ended
            self.heartbeat.step_took(time.monotonic() - self.began, waited + time.thread_time() - self.worked)
        self.heartbeat.step = trainer.global_step
        if self.num_seen % BETWEEN_HURRIES == 0:
            self.hurry(self.heartbeat.patience)
        self._wait_for_data()

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.heartbeat.phase("validation", self.heartbeat.step_limit)

    def on_validation_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self.heartbeat.tick()

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._wait_for_data()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.heartbeat.phase("end of stage", self.heartbeat.config.first_step_seconds)

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        self.note_error(exception)

    def _wait_for_data(self) -> None:
        config = self.heartbeat.config
        is_first = self.num_seen == 0
        wait = max(config.first_step_seconds, config.loader_seconds) if is_first else config.loader_seconds
        self.heartbeat.phase("data", wait + config.frozen_seconds)
        self.ended = time.monotonic()
