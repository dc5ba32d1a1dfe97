"""Preemption of a stage, and its heartbeat.

All ranks stop after the same step. Lightning's own signal handlers save from inside the handler, where ranks whose
signals arrive a moment apart deadlock; they are removed.
Source: Lightning #21406; ``signal_connector.py`` and ``training_epoch_loop.py`` of Lightning 2.6.
"""

import os
import signal
import time
from types import FrameType
from typing import Any, Protocol

from lightning import Callback, LightningModule, Trainer

from audio_lm.common import compat
from audio_lm.common.audio_units import Seconds
from audio_lm.common.env import rank
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.fault_tolerance.heartbeat import Heartbeat
from audio_lm.fault_tolerance.signals import LOST, SIGNALS, decode_signal, encode_signal
from audio_lm.training.callbacks.checkpoint import validates
from audio_lm.training.callbacks.run_guard import RunGuard

SAME_SIGNAL: Seconds = 1.0
STEPS_PER_LIMIT = 50  # between two updates of the timeout of collectives


class SavesCheckpoint(Protocol):
    """Writer of the checkpoint of the step that has just ended; a collective."""

    def save(self, trainer: Trainer) -> None:
        """Write it, unless it exists."""


class PreemptionCallback(Callback):
    """Ends the stage after the step in which any rank received a stop signal, with a checkpoint on all ranks.

    Ctrl-C is caught only while a stage trains; the second one ends the process at once. A launcher forwards the
    SIGINT that its ranks also received from the terminal, so one that follows within a second counts as the same.
    Where a newer start has taken the run, all ranks leave after the step and nothing is saved.
    """

    def __init__(self, checkpoint: SavesCheckpoint, guard: RunGuard) -> None:
        self.checkpoint = checkpoint
        self.guard = guard
        self.code = 0  # signal and rank, see ``encode_signal``
        self.interrupted = 0
        self.before: Any = None

    @property
    def received(self) -> tuple[int, int]:
        """Signal, and the rank that received it; zeros when there was none."""
        return decode_signal(self.code)

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        compat.disable_signal_handlers(trainer)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.before = signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self.interrupted:
            self.interrupted, self.since = number, time.monotonic()
        elif time.monotonic() - self.since > SAME_SIGNAL:
            signal.signal(number, self.before)
            os.kill(os.getpid(), number)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if self.code:
            return
        own = LOST if self.guard.is_lost else encode_signal(self.interrupted or SIGNALS.received, rank())
        self.code = self.guard.agree(own)
        if self.code >= LOST:
            raise self.guard.lost_error()
        if self.code and not validates(trainer):
            self._stop(trainer)
            # Lightning validates whenever it stops; this step has no validation.
            compat.skip_last_validation(trainer)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.code:
            self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        self.checkpoint.save(trainer)
        trainer.should_stop = True

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)


class HeartbeatCallback(Callback):
    """Reports phase, step and clips of this rank to its heartbeat, and the error that ends it to the run."""

    def __init__(self, heartbeat: Heartbeat, name: str, *, steps: int, guard: RunGuard) -> None:
        self.heartbeat = heartbeat
        self.name = name
        self.steps = steps
        self.guard = guard
        self.num_seen = 0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.heartbeat.begin_stage(self.name, step=trainer.global_step, steps=self.steps)
        self._wait_for_data()

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: tuple[PackedBatch, ...], batch_idx: int
    ) -> None:
        self.heartbeat.clip_ids = tuple(cut_id for pack in batch for cut_id in pack.cut_ids)
        self.started, self.worked = time.monotonic(), time.thread_time()
        self.heartbeat.phase("step", self.heartbeat.step_limit)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self.num_seen += 1
        if self.num_seen > 1:  # the first one also sets things up
            waited = self.started - self.ended
            self.heartbeat.record_step(
                time.monotonic() - self.started, waited + time.thread_time() - self.worked
            )
        self.heartbeat.step = trainer.global_step
        if self.num_seen % STEPS_PER_LIMIT == 0:
            self.guard.limit_collectives(self.heartbeat.patience)
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
        self.guard.note_error(exception)

    def _wait_for_data(self) -> None:
        config = self.heartbeat.config
        is_first = self.num_seen == 0
        wait = max(config.first_step_seconds, config.loader_seconds) if is_first else config.loader_seconds
        self.heartbeat.phase("data", wait + config.frozen_seconds)
        self.ended = time.monotonic()
