"""Checkpoints of a stage: one every so many steps, restored before the first step of a resumed stage.

A stage is a function of its step, so a checkpoint holds the trained weights, the optimizer, the step and plain
counts; no state of Lightning's loops. One is written after the validation of its step, so that a step is complete.
"""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer

from audio_lm.checkpoints import state
from audio_lm.checkpoints.async_saver import Saver
from audio_lm.checkpoints.config import CheckpointConfig
from audio_lm.checkpoints.discovery import Checkpoint, prune
from audio_lm.checkpoints.process_group import Group
from audio_lm.checkpoints.writer import CheckpointWriter
from audio_lm.common import compat
from audio_lm.common.audio_units import Seconds
from audio_lm.common.env import is_main, rank, world_size
from audio_lm.common.files import write_json
from audio_lm.training.callbacks.run_guard import LocalGuard, RunGuard
from audio_lm.training.callbacks.state import (
    load_callback_states,
    save_callback_states,
    states_of_earlier_release,
)
from audio_lm.training.distributed import all_gather_object
from audio_lm.training.step import TrainStep

FOLDER = "checkpoints"
VAL_LOSS = "val_loss/all"
NOT_IN_STATUS = ("settings", "loss_sums", "measure_sums", "nonfinite", "is_validated", "audio", "callbacks")
"""Plain values of a checkpoint that ``status.json`` does not repeat."""

CLOCK_STEPS = 10  # between two checks of the clock, a collective
PATIENCE: Seconds = 20.0  # with a save in the background, when the stage ends with an error


class StageCheckpoint(Callback):
    """Writes the checkpoints and ``status.json`` of a stage, and restores the one that a stage resumes from.

    Args:
        folder: of the stage.
        every: steps between checkpoints, the most that a kill can lose.
        cursor_behind: step -> position in the data order at its end, as plain integers.
        facts: plain values for the manifests.
        progress: plain values for every checkpoint and, less ``NOT_IN_STATUS``, for ``status.json``.
        resume_from: the checkpoint to resume from.
    """

    def __init__(
        self,
        folder: Path,
        *,
        steps: int,
        every: int,
        cursor_behind: Mapping[int, Sequence[int]],
        config: CheckpointConfig | None = None,
        facts: Mapping[str, Any] | None = None,
        progress: Mapping[str, Any] | None = None,
        resume_from: Checkpoint | None = None,
        guard: RunGuard | None = None,
    ) -> None:
        self.folder = folder
        self.steps = steps
        self.every = every
        self.cursor_behind = cursor_behind
        self.config = config or CheckpointConfig()
        self.facts = dict(facts or {})
        self.progress = dict(progress or {})
        self.resume_from = resume_from
        self.guard = guard or LocalGuard()
        self.val_loss: tuple[int, float] | None = None  # step, loss
        self.is_due = False

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        step = cast(TrainStep, module)
        self.model = step.model
        self.tensor_parallel = step.tensor_parallel
        trained = {state.unwrapped_name(name) for name, rate in step.rate_of.items() if rate is not None}
        self.trained = [
            name for name, _ in self.model.named_parameters() if state.unwrapped_name(name) in trained
        ]
        group = Group()
        self.saver = Saver(
            CheckpointWriter(self.folder / FOLDER, group, may_rename=self.guard.commit),
            is_asynchronous=self.config.asynchronous,
            report=self.guard.print,
            when_saved=self._saved,
        )
        self.last_save = time.monotonic()
        self.facts["frozen"] = state.frozen_digests(self.model, self.trained)
        self.facts["trainable"] = state.trainable_digest(self.model, self.trained)
        if self.resume_from is not None:
            self._restore(self.resume_from, trainer, step, group)

    def _restore(self, checkpoint: Checkpoint, trainer: Trainer, module: TrainStep, group: Group) -> None:
        """Restore the state at the end of a checkpoint's step."""
        state.load(checkpoint, self.model, self.trained, trainer.optimizers[0], group)
        state.check_frozen(checkpoint, self.facts["frozen"])
        compat.set_step(trainer, checkpoint.step)
        self.restored = state.progress_of(checkpoint)
        steps, in_a_row = self.restored.get("nonfinite", (0, 0))
        module.nonfinite = (steps, in_a_row)
        earlier = states_of_earlier_release(self.restored)
        for key in load_callback_states(trainer, self.restored.get("callbacks"), earlier):
            self.guard.print(
                f"{checkpoint.path.name} has a state of callback {key!r}, which this run does not have; dropped"
            )
        data_rank = rank() // self.tensor_parallel
        # Checkpoints of earlier releases have no measures.
        restored = {module.train_loss: "loss_sums", module.train_measures: "measure_sums"}
        for metric, key in restored.items():
            sums = self.restored.get(key, [])
            if len(sums) == world_size() // self.tensor_parallel:
                metric.update([sums[data_rank]])
            elif data_rank == 0 and sums:
                metric.update(sums)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        is_due = self.resume_from is not None and not self.restored.get("is_validated", True)
        if is_due and trainer.enable_validation:
            compat.run_validation(trainer)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if trainer.global_step % self.every == 0 or self._is_late(trainer.global_step):
            if validates(trainer):
                self.is_due = True
            else:
                self._save(trainer, is_last=False)

    def _is_late(self, step: int) -> bool:
        """Compare the time since the last save with the limit, by the clock of the first rank and not at every step."""
        if not self.config.every_minutes or step % CLOCK_STEPS:
            return False
        return all_gather_object(time.monotonic() - self.last_save > 60 * self.config.every_minutes)[0]

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        loss = float(trainer.callback_metrics.get(VAL_LOSS, math.nan))
        self.val_loss = (trainer.global_step, loss)
        if self.is_due:
            self._save(trainer, is_last=False)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.global_step >= self.steps:
            self.save(trainer)
        self.saver.finish()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        if saver := getattr(self, "saver", None):
            saver.wait(PATIENCE)

    def save(self, trainer: Trainer) -> None:
        """Write a checkpoint of the step that has just ended, and wait for it; a collective.

        Raises:
            CheckpointError: it could not be written.
        """
        self._save(trainer, is_last=True)

    def _save(self, trainer: Trainer, *, is_last: bool) -> None:
        self.is_due = False
        self.last_save = time.monotonic()
        tensors = {
            **state.weights(self.model, self.trained),
            **state.optimizer_values(self.model, trainer.optimizers[0]),
        }
        progress = self._progress(trainer)
        run = {key: progress[key] for key in ("mlflow_run_id",) if key in progress}
        with self.guard.saving():
            self.saver.save(
                tensors,
                step=trainer.global_step,
                facts={**self.facts, **run, "val_loss": self._last_val_loss(trainer.global_step)},
                progress=progress,
                is_last=is_last,
            )

    def _progress(self, trainer: Trainer) -> dict[str, Any]:
        """Plain values of a checkpoint; all ranks together."""
        step, module = trainer.global_step, cast(TrainStep, trainer.lightning_module)
        module.read_records()
        sums, measures = (
            all_gather_object(metric.sums, tensor_parallel=self.tensor_parallel)
            for metric in (module.train_loss, module.train_measures)
        )
        is_validated = self.val_loss is not None and self.val_loss[0] == step
        # MLflow's id of the run; None until the store has answered, absent with another logger.
        logger = trainer.logger
        run = {"mlflow_run_id": logger.run_id} if logger is not None and hasattr(logger, "run_id") else {}
        return {
            **self.progress,
            **run,
            "step": step,
            "steps": self.steps,
            "cursor": [*self.cursor_behind[step]],
            "loss_sums": sums,
            "measure_sums": measures,
            "nonfinite": [*module.nonfinite],
            "is_validated": is_validated or not validates(trainer),
            "callbacks": save_callback_states(trainer),
        }

    def _last_val_loss(self, step: int) -> float | None:
        """Validation loss of a step; None where it has none, or it is not finite."""
        if self.val_loss is None or self.val_loss[0] != step or not math.isfinite(self.val_loss[1]):
            return None
        return self.val_loss[1]

    def _saved(self, checkpoint: Checkpoint, progress: Mapping[str, Any]) -> None:
        """Write ``status.json`` and delete old checkpoints; a failure here costs no checkpoint."""
        if not is_main():
            return
        self.guard.commit()  # where a newer start has the run, the status is that start's
        status = {key: value for key, value in progress.items() if key not in NOT_IN_STATUS}
        config = self.config
        try:
            write_json(
                self.folder / "status.json", status | {"checkpoint": checkpoint.path.name, "finished": False}
            )
            prune(
                checkpoint.path.parent,
                keep_last=config.keep_last,
                keep_best=config.keep_best,
                pin_every=config.pin_every,
            )
        except OSError as error:
            self.guard.print(
                f"{checkpoint.path.name} is saved, but status.json or old checkpoints are not up to date: {error}"
            )


def validates(trainer: Trainer) -> bool:
    """Check whether a validation follows the step that has just ended."""
    every = trainer.val_check_interval
    num_batches = trainer.fit_loop.epoch_loop.total_batch_idx + 1
    return bool(trainer.enable_validation) and isinstance(every, int) and num_batches % every == 0
