"""Progress of a stage on the console, and its throughput."""

import time
from collections import defaultdict
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds
from audio_lm.common.env import is_main
from audio_lm.common.packed_batch import PackedBatch

SHORT: Seconds = 60.0  # after a stage, below which the time left of the run is not shown


class Throughput(Callback):
    """Logs audio, tokens and conversations per second since the last log.

    ``unfilled_share`` is the share of the token budget that no conversation filled; packs have no padding.

    Args:
        budget: tokens per step and rank.
    """

    def __init__(self, *, budget: int, log_every: int = 10) -> None:
        self.budget = budget
        self.log_every = log_every
        self.totals: dict[str, float] = defaultdict(float)
        self.rates: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.since = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Any,
        batch: tuple[PackedBatch, ...],
        batch_idx: int,
    ) -> None:
        self.totals["audio_seconds"] += sum(sum(pack.num_samples) for pack in batch) / SAMPLES_PER_SECOND
        self.totals["tokens"] += sum(pack.token_ids.numel() for pack in batch)
        self.totals["learned_tokens"] += sum(pack.num_learned for pack in batch)
        self.totals["conversations"] += sum(len(pack) for pack in batch)
        self.totals["steps"] += 1
        if trainer.global_step % self.log_every == 0:
            elapsed = max(1e-9, time.monotonic() - self.since)
            filled = self.totals["tokens"] / (self.budget * self.totals["steps"])
            self.rates = {
                f"throughput/{name}_per_second": total / elapsed for name, total in self.totals.items()
            }
            rates = self.rates | {"throughput/unfilled_share": max(0.0, 1 - filled)}
            for logger in trainer.loggers:
                logger.log_metrics(rates, step=trainer.global_step)
            self.totals.clear()
            self.since = time.monotonic()


class ProgressLine(Callback):
    """A progress bar on a terminal; elsewhere a line with step, losses, speed and time left.

    Args:
        after: time from the last step to the end of the run; None if it is unknown.
        every_seconds: between two lines.
    """

    def __init__(
        self,
        title: str,
        *,
        steps: int,
        throughput: Throughput,
        console: Console,
        after: Seconds | None = None,
        every_seconds: Seconds = 15.0,
    ) -> None:
        self.title = title
        self.steps = steps
        self.throughput = throughput
        self.console = console
        self.after = after
        self.every_seconds = every_seconds
        self.bar: Progress | None = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.started = self.last_line = time.monotonic()
        self.first_step = trainer.global_step
        if self.console.is_terminal and is_main():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self.bar = Progress(*columns, TextColumn("{task.fields[note]}"), console=self.console)
            self.bar.start()
            self.row = self.bar.add_task(self.title, total=self.steps, completed=self.first_step, note="")

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if self.bar is not None:
            note = f"{self._note(trainer)}{self._of_run(self._left(trainer.global_step))}"
            self.bar.update(self.row, completed=trainer.global_step, note=note)
        elif is_main() and (
            time.monotonic() - self.last_line > self.every_seconds or trainer.global_step == self.steps
        ):
            self.last_line = time.monotonic()
            left = self._left(trainer.global_step)
            note = f"{self._note(trainer)}  {left:.0f} s left{self._of_run(left)}"
            self.console.print(
                f"{self.title}  step {trainer.global_step}/{self.steps}  {note}", soft_wrap=True
            )

    def _left(self, step: int) -> Seconds:
        """Time to the last step, at the speed up to now."""
        return (time.monotonic() - self.started) / (step - self.first_step) * (self.steps - step)

    def _of_run(self, left: Seconds) -> str:
        """Time to the end of the run, where it differs by a minute from that of the stage."""
        if self.after is None or self.after < SHORT:
            return ""
        return f", {(left + self.after) / 60:.0f} min of the run"

    def _note(self, trainer: Trainer) -> str:
        loss_of_task = {
            name.partition("/")[2]: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("train_loss/")
        }
        parts = [f"loss {loss_of_task.pop('all'):.3f}"] if loss_of_task else []
        parts += [" ".join(f"{task} {value:.2f}" for task, value in sorted(loss_of_task.items()))]
        rates = self.throughput.rates
        if rates:
            parts.append(f"{rates['throughput/audio_seconds_per_second']:.0f} audio-s/s")
            parts.append(f"{rates['throughput/tokens_per_second']:.0f} tokens/s")
        return "  ".join(parts)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.stop()
