"""Checkpoints around the steps of a stage: written every so many, and one gone on from before the first.

A stage is a function of its step, so a checkpoint is what was learned, the step, and plain counts; nothing of
Lightning's loops is kept. One is written behind the validation of its step, so that nothing of a step is left to do.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from audio_lm.checkpoints import state
from audio_lm.checkpoints.async_saver import Saver
from audio_lm.checkpoints.discovery import Checkpoint, prune
from audio_lm.checkpoints.process_group import Group
from audio_lm.checkpoints.writer import Store, anyone
from audio_lm.common.audio_units import Seconds
from audio_lm.common.env import is_main, rank, world_size
from audio_lm.common.files import write_json
from audio_lm.training.callbacks.state import load_callback_states, save_callback_states
from audio_lm.training.distributed import all_gather_object

FOLDER = "checkpoints"
VAL_LOSS = "val_loss/all"
OWN = (
    "settings",
    "loss_sums",
    "nonfinite",
    "is_validated",
    "audio",
    "callbacks",
)  # of a checkpoint's plain values, what status.json does not repeat
LOOK_EVERY = 10  # steps between two looks at the clock, which ranks take together
PATIENCE: Seconds = 20.0  # with a save in the background, when the stage ends with an error


class StageCheckpoint(Callback):
    """Writes the checkpoints and ``status.json`` of a stage, and begins where one of them ends.

    Args:
        every: steps between checkpoints, the most a kill can lose.
        every_seconds: one is also written when none was for so long by the clock of the first rank; 0 for steps only.
        facts: plain values for the manifests.
        progress: plain values for every checkpoint and, less those of ``OWN``, for ``status.json``.
        cursor_behind: where in the order each step ends, as plain integers.
        counts: what has been counted so far, to go on counting from.
        known_late: plain values for both that may not be known before a checkpoint is written.
        begin: the checkpoint the stage goes on from.
        keep: see ``shelf.prune``.
        may_rename: see ``Store``.
        during: what every save stands in.
    """

    def __init__(
        self,
        folder: Path,
        *,
        steps: int,
        every: int,
        every_seconds: Seconds = 0.0,
        facts: Mapping[str, Any],
        progress: Mapping[str, Any],
        cursor_behind: Mapping[int, Sequence[int]],
        counts: Callable[[], dict[str, Any]] = dict,
        known_late: Callable[[], dict[str, Any]] = dict,
        begin: Checkpoint | None = None,
        is_asynchronous: bool = True,
        keep: Mapping[str, int] | None = None,
        may_rename: Callable[[], None] = anyone,
        during: Callable[[], AbstractContextManager[None]] = nullcontext,
        report: Callable[[str], None] = print,
    ) -> None:
        self.folder = folder
        self.steps = steps
        self.every = every
        self.every_seconds = every_seconds
        self.facts = dict(facts)
        self.progress = dict(progress)
        self.cursor_behind = cursor_behind
        self.counts = counts
        self.known_late = known_late
        self.begin = begin
        self.is_asynchronous = is_asynchronous
        self.keep = {"keep_last": 2, "keep_best": 0, "pin_every": 0, **(keep or {})}
        self.may_rename = may_rename
        self.during = during
        self.report = report
        self.val_loss: tuple[int, float] | None = None  # step, loss
        self.is_due = False

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.model: Any = module.model
        self.tensor_parallel: int = module.tensor_parallel
        learners = {state.plain(name) for name, rate in module.rate_of.items() if rate is not None}
        self.trained = [name for name, _ in self.model.named_parameters() if state.plain(name) in learners]
        group = Group()
        store = Store(self.folder / FOLDER, group, may_rename=self.may_rename)
        self.saver = Saver(
            store,
            is_asynchronous=self.is_asynchronous,
            report=self.report,
            when_saved=self._saved,
        )
        self.since = time.monotonic()
        self.facts["frozen"] = state.frozen_digests(self.model, self.trained)
        self.facts["trainable"] = state.trainable_digest(self.model, self.trained)
        if self.begin is not None:
            self._restore(self.begin, trainer, module, group)

    def _restore(self, begin: Checkpoint, trainer: Trainer, module: LightningModule, group: Group) -> None:
        """Everything as it was behind the step of a checkpoint."""
        state.load(begin, self.model, self.trained, trainer.optimizers[0], group)
        state.check_frozen(begin, self.facts["frozen"])
        set_step(trainer, begin.step)
        self.restored = state.progress_of(begin)
        module.nonfinite = tuple(self.restored.get("nonfinite", (0, 0)))
        if "callbacks" in self.restored:  # checkpoints of earlier releases have none
            for key in load_callback_states(trainer, self.restored["callbacks"]):
                self.report(
                    f"{begin.path.name} has a state of callback {key!r}, which this run does not have; dropped"
                )
        sums, tensor_parallel = self.restored["loss_sums"], self.tensor_parallel
        learner = rank() // tensor_parallel
        if len(sums) == world_size() // tensor_parallel:
            module.train_loss.update([sums[learner]])
        elif learner == 0:
            module.train_loss.update(sums)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        is_due = self.begin is not None and not self.restored.get("is_validated", True)
        if is_due and trainer.enable_validation:
            _validate(trainer)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if trainer.global_step % self.every == 0 or self._is_late(trainer.global_step):
            if validates(trainer):
                self.is_due = True
            else:
                self._save(trainer, is_last=False)

    def _is_late(self, step: int) -> bool:
        """Whether the last one is long ago; ranks ask the first one, and not at every step."""
        if not self.every_seconds or step % LOOK_EVERY:
            return False
        return all_gather_object(time.monotonic() - self.since > self.every_seconds)[0]

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
            saver.give_up(PATIENCE)

    def save(self, trainer: Trainer) -> None:
        """Write a checkpoint of the step that has just ended, and wait for it; all ranks together.

        Raises:
            CheckpointError: it could not be written.
        """
        self._save(trainer, is_last=True)

    def _save(self, trainer: Trainer, *, is_last: bool) -> None:
        step = trainer.global_step
        self.is_due = False
        self.since = time.monotonic()
        is_validated = self.val_loss is not None and self.val_loss[0] == step
        loss = (
            self.val_loss[1] if self.val_loss and is_validated and math.isfinite(self.val_loss[1]) else None
        )
        late = self.known_late()
        progress = {
            **self.progress,
            **late,
            **self.counts(),
            "step": step,
            "steps": self.steps,
            "cursor": [*self.cursor_behind[step]],
            "loss_sums": all_gather_object(
                trainer.lightning_module.train_loss.sums, tensor_parallel=self.tensor_parallel
            ),
            "nonfinite": [*trainer.lightning_module.nonfinite],
            "is_validated": is_validated or not validates(trainer),
            "callbacks": save_callback_states(trainer),
        }
        tensors = {
            **state.weights(self.model, self.trained),
            **state.optimizer_values(self.model, trainer.optimizers[0]),
        }
        with self.during():
            self.saver.save(
                tensors,
                step=step,
                facts={**self.facts, **late, "val_loss": loss},
                progress=progress,
                is_last=is_last,
            )

    def _saved(self, checkpoint: Checkpoint, progress: Mapping[str, Any]) -> None:
        """Tell others, and make room; what fails here costs no checkpoint."""
        if not is_main():
            return
        self.may_rename()  # a start that has the run by now tells for itself
        told = {key: value for key, value in progress.items() if key not in OWN}
        try:
            write_json(
                self.folder / "status.json", told | {"checkpoint": checkpoint.path.name, "finished": False}
            )
            prune(checkpoint.path.parent, **self.keep)
        except OSError as error:
            self.report(f"{checkpoint.path.name} is saved, but not told or tidied up after: {error}")


def set_step(trainer: Trainer, step: int) -> None:
    """Make Lightning count on from a step; its optimizer, its batches and its loggers count each for themselves."""
    loop = trainer.fit_loop.epoch_loop
    optimizer_steps = loop.manual_optimization.optim_step_progress.total
    optimizer_steps.ready = optimizer_steps.completed = step
    batches = loop.batch_progress.total
    batches.ready = batches.started = batches.processed = batches.completed = step
    loop._batches_that_stepped = step


def validates(trainer: Trainer) -> bool:
    """Whether a validation follows the step that has just ended."""
    every = trainer.val_check_interval
    num_batches = trainer.fit_loop.epoch_loop.total_batch_idx + 1
    return bool(trainer.enable_validation) and isinstance(every, int) and num_batches % every == 0


def _validate(trainer: Trainer) -> None:
    """The validation that was to follow the last step, as Lightning would have run it then."""
    loop = trainer.fit_loop.epoch_loop
    loop._batches_that_stepped -= 1
    trainer.validating = True
    loop.val_loop.run()
    trainer.training = True
    loop._batches_that_stepped += 1
