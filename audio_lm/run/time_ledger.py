"""Record of the time that each start of a run spends in each phase, in ``time.jsonl``; ``goodput`` reads it.

A line holds the seconds of all phases since the start, so that a lost line costs only resolution. The first rank writes.
"""

import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from audio_lm.common.env import is_main
from audio_lm.fault_tolerance.heartbeat import Heartbeat
from audio_lm.run.goodput import FILE
from audio_lm.tracking.event_log.journal import JsonlWriter, WriteGuard

EVERY = 10
"""Steps between two lines: checkpoints by the clock are written at multiples of it, too."""


class TimeLedger:
    """Writer of ``time.jsonl``.

    Args:
        folder: of the run; nothing is written there before ``open``.
    """

    def __init__(self, folder: Path, heartbeat: Heartbeat) -> None:
        self.path = folder / FILE
        self.heartbeat = heartbeat
        self.attempt = 0
        self._lines: JsonlWriter | None = None

    def open(self, attempt: int, write_guard: WriteGuard) -> None:
        """Open the file, on the first rank.

        Args:
            attempt: number of the start.
            write_guard: says whether the run folder is still that of this start.
        """
        self.attempt = attempt
        if is_main():
            self._lines = JsonlWriter(self.path, write_guard=write_guard)
            self.write()

    def write(self, *, is_first: bool = False) -> None:
        """Append a line; nothing on other ranks, or before ``open``.

        Args:
            is_first: the stage trains from the present step on.
        """
        if self._lines is None:
            return
        heartbeat = self.heartbeat
        self._lines.append(
            {
                "attempt": self.attempt,
                "stage": heartbeat.stage,
                "step": heartbeat.step,
                "is_first": is_first,
                "time": time.time(),
                "seconds": {name: round(seconds, 4) for name, seconds in heartbeat.seconds_of_phase.items()},
            }
        )


class LedgerCallback(Callback):
    """Writes a line at the first and the last step of a stage, every few steps and at each checkpoint.

    Args:
        every: steps between checkpoints.
    """

    def __init__(self, ledger: TimeLedger, *, every: int) -> None:
        self.ledger = ledger
        self.every = every

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.ledger.write(is_first=True)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if trainer.global_step % EVERY == 0 or trainer.global_step % self.every == 0:
            self.ledger.write()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.ledger.write()
