"""Shares of a stage adapted to its losses: the losses between two decisions, and the record of the decisions.

Losses are added as integers, so their sum over steps, packs and ranks does not depend on the order. The loss of a task
is rounded before a decision, and logged as it is used.
"""

import json
import logging
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from lightning import Callback, LightningModule, Trainer

from audio_lm.common.env import is_main, rank
from audio_lm.common.files import read_lines, seal, write_text
from audio_lm.tracking.event_log.journal import JsonlWriter
from audio_lm.training.callbacks.run_guard import LocalGuard, RunGuard
from audio_lm.training.distributed import all_gather_object
from audio_lm.training.losses import LossSums, read_together
from audio_lm.training.step import TrainStep

FILE = "online_shares.jsonl"
UNITS = 1 << 32  # of one nat
DIGITS = 3  # of a rounded loss, after the point
log = logging.getLogger(__name__)


class MixtureDecision(Protocol):
    """Shares of a window, with the losses they follow from."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, ``step`` among them."""

    def metrics(self) -> dict[str, float]:
        """Curves."""


class MixturePath(Protocol):
    """Owner of the shares of the windows to come; ``data.mixture.online`` has it."""

    @property
    def next_step(self) -> int:
        """Step after which the next window is decided."""

    def decide(self, losses: Mapping[str, float]) -> MixtureDecision:
        """Decide it from the losses since the decision before."""

    def plan(self) -> dict[str, Any]:
        """The order of examples with all decided windows."""

    def state(self) -> dict[str, Any]:
        """Plain values from which the path continues."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from the values of ``state``."""


class OnlineMixing(Callback):
    """Lets a path decide shares from the losses of all ranks, and writes ``online_shares.jsonl``, a line per decision.

    It stands before the checkpoints of its stage, which hold the decisions up to their step.

    Args:
        folder: of the stage.
        progress: plain values of the stage's checkpoints, whose ``plan`` is kept up to date.
        tensor_parallel: number of adjacent ranks that train on the same packs; one of them is counted.
    """

    def __init__(
        self,
        path: MixturePath,
        folder: Path,
        *,
        progress: dict[str, Any],
        tensor_parallel: int = 1,
        guard: RunGuard | None = None,
    ) -> None:
        self.path = path
        self.file = folder / FILE
        self.progress = progress
        self.tensor_parallel = tensor_parallel
        self.guard = guard or LocalGuard()
        self.sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])  # task -> loss in units, learned tokens
        self.unread: list[LossSums] = []  # of steps whose losses may still be on the device
        self.lines: JsonlWriter | None = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if is_main():
            self._open_until(trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self.unread += cast(TrainStep, module).step_sums
        if trainer.global_step == self.path.next_step:
            self._decide(trainer)

    def _decide(self, trainer: Trainer) -> None:
        sums = self._sums_of_all_ranks()
        self.sums.clear()
        losses = {
            task: round(loss / UNITS / tokens, DIGITS)
            for task, (loss, tokens) in sorted(sums.items())
            if tokens
        }
        decision = self.path.decide(losses)
        self.progress["plan"] = self.path.plan()
        for logger in trainer.loggers:
            logger.log_metrics(decision.metrics(), step=trainer.global_step)
        if self.lines is not None:
            self.lines.append(decision.as_json())

    def _sums_of_all_ranks(self) -> dict[str, list[int]]:
        """Sums since the last decision; a collective."""
        self._read()
        totals: dict[str, list[int]] = {}
        for sums in all_gather_object(dict(self.sums), tensor_parallel=self.tensor_parallel):
            for task, (loss, tokens) in sums.items():
                before = totals.get(task, [0, 0])
                totals[task] = [before[0] + loss, before[1] + tokens]
        return totals

    def _read(self) -> None:
        """Read the losses from the device, and add them."""
        unread, self.unread = self.unread, []
        read_together(unread)
        for sums in unread:
            for task, (loss, tokens) in sums.items():
                if math.isfinite(loss):
                    self.sums[task][0] += round(loss * UNITS)
                    self.sums[task][1] += round(tokens)

    def state_dict(self) -> dict[str, Any]:
        """State of the path, and the sums of all ranks; a collective, as all ranks save a checkpoint together."""
        return {"path": self.path.state(), "sums": self._sums_of_all_ranks()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.path.load_state(state_dict["path"])
        self.sums.clear()
        self.unread.clear()
        if rank() == 0:  # the sums are those of all ranks
            self.sums.update({task: list(sums) for task, sums in state_dict["sums"].items()})

    def text(self) -> str:
        """Content of the file; empty where it could not be written."""
        return self.file.read_text() if self.file.is_file() else ""

    def _open_until(self, step: int) -> None:
        """Open the file with the decisions up to a step; later ones of a killed start are taken again."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            records = [line.record for line in read_lines(self.file)]
            kept = [record for record in records if record is not None and record["step"] <= step]
            with self.guard.writing() as is_ours:
                if is_ours and len(kept) < len(records):
                    write_text(self.file, "".join(json.dumps(seal(record)) + "\n" for record in kept))
            self.lines = JsonlWriter(self.file, write_guard=self.guard.writing)
        except OSError as error:
            log.warning(
                "%s cannot be written (%s); training continues, and decisions are only in the curves and in checkpoints",
                self.file, error.strerror,
            )  # fmt: skip
