"""Realised mixture of a stage, task by task and source by source, beside the planned one."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from audio_lm.common.files import write_json
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.common.runtime import is_main

FILE = "mixture.json"
COUNTED = ("clips", "seconds", "tokens", "learned_tokens")

Source = tuple[str, str]  # task, source


class MixtureMonitor(Callback):
    """Counts the clips that this rank trains on and logs each task's share.

    Packs are divided over ranks equally and at random, so the shares of one rank estimate those of all.

    Args:
        planned: task and source -> share of the clips.
        num_rows: task and source -> rows of one pass.
    """

    def __init__(
        self,
        folder: Path,
        *,
        planned: Mapping[Source, float],
        num_rows: Mapping[Source, int],
        log_every: int = 50,
    ) -> None:
        self.path = folder / FILE
        self.planned = planned
        self.num_rows = num_rows
        self.log_every = log_every
        self.counts_of_source: dict[Source, dict[str, float]] = defaultdict(
            lambda: dict.fromkeys(COUNTED, 0.0)
        )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Any,
        batch: tuple[PackedBatch, ...],
        batch_idx: int,
    ) -> None:
        for pack in batch:
            for task, source, *counts in pack.source_counts:
                for name, count in zip(COUNTED, counts, strict=True):
                    self.counts_of_source[task, source][name] += count
        if trainer.global_step % self.log_every == 0:
            for logger in trainer.loggers:
                logger.log_metrics(self.metrics(), step=trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """Counts of the stage so far."""
        return {
            "counts": [[task, source, counts] for (task, source), counts in self.counts_of_source.items()]
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.counts_of_source.clear()
        for task, source, counts in state_dict["counts"]:
            self.counts_of_source[task, source].update(counts)

    def metrics(self) -> dict[str, float]:
        """Share of each task, and passes over each source.

        Names have one slash, because MLflow makes a section of everything before the last one.
        """
        by_task: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(COUNTED, 0.0))
        for (task, _), counts in self.counts_of_source.items():
            for name, count in counts.items():
                by_task[task][name] += count
        totals = {name: sum(counts[name] for counts in by_task.values()) for name in COUNTED}
        shares = {
            f"share_{name}/{task}": counts[name] / totals[name]
            for task, counts in by_task.items()
            for name in COUNTED
            if totals[name]
        }
        passes = {
            f"passes/{task} {source.replace('/', ' ')}": counts["clips"] / self.num_rows[task, source]
            for (task, source), counts in self.counts_of_source.items()
        }
        return shares | passes

    def rows(self) -> list[dict[str, Any]]:
        """Planned and realised share of every source."""
        total = sum(counts["clips"] for counts in self.counts_of_source.values()) or 1.0
        return [
            {
                "task": task,
                "source": source,
                "planned_share": share,
                "realised_share": self.counts_of_source[task, source]["clips"] / total,
                "passes": self.counts_of_source[task, source]["clips"] / self.num_rows[task, source],
                **self.counts_of_source[task, source],
            }
            for (task, source), share in self.planned.items()
        ]

    def save(self) -> None:
        """Write ``mixture.json``."""
        if is_main():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, {"leaves": self.rows()})
