"""What was really heard, task by task and source by source, beside what was planned."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from audio_lm.common.env import is_main
from audio_lm.common.files import write_json
from audio_lm.common.packed_batch import PackedBatch

FILE = "mixture.json"
COUNTED = ("clips", "seconds", "tokens", "learned_tokens")

Leaf = tuple[str, str]  # task, source


class MixtureMonitor(Callback):
    """Counts what this rank hears and logs each task's share.

    Ranks share every step equally and by chance, so one rank's shares are everybody's.

    Args:
        planned: task and source -> share of the clips.
        num_rows: task and source -> how many rows one pass has.
        before: what ``counts`` gave at the checkpoint that is gone on from.
    """

    def __init__(
        self,
        folder: Path,
        *,
        planned: Mapping[Leaf, float],
        num_rows: Mapping[Leaf, int],
        log_every: int = 50,
        before: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = folder / FILE
        self.planned = planned
        self.num_rows = num_rows
        self.log_every = log_every
        self.counts_of_leaf: dict[Leaf, dict[str, float]] = defaultdict(lambda: dict.fromkeys(COUNTED, 0.0))
        before = before or {}
        for task, source, counts in before.get("counts", before.get("heard", ())):  # "heard": before 2026-12
            self.counts_of_leaf[task, source].update(counts)

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
                    self.counts_of_leaf[task, source][name] += count
        if trainer.global_step % self.log_every == 0 and trainer.logger is not None:
            trainer.logger.log_metrics(self.metrics(), step=trainer.global_step)

    def counts(self) -> dict[str, Any]:
        """Everything counted, as a checkpoint keeps it."""
        return {"counts": [[task, source, counts] for (task, source), counts in self.counts_of_leaf.items()]}

    def metrics(self) -> dict[str, float]:
        """Shares per task of everything counted, and passes over every source.

        A name has one stroke, because MLflow's page makes a section of whatever stands before the last one.
        """
        by_task: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(COUNTED, 0.0))
        for (task, _), counts in self.counts_of_leaf.items():
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
            for (task, source), counts in self.counts_of_leaf.items()
        }
        return shares | passes

    def rows(self) -> list[dict[str, Any]]:
        """Plan and truth of every leaf."""
        total = sum(counts["clips"] for counts in self.counts_of_leaf.values()) or 1.0
        return [
            {
                "task": task,
                "source": source,
                "planned_share": share,
                "realised_share": self.counts_of_leaf[task, source]["clips"] / total,
                "passes": self.counts_of_leaf[task, source]["clips"] / self.num_rows[task, source],
                **self.counts_of_leaf[task, source],
            }
            for (task, source), share in self.planned.items()
        ]

    def save(self) -> None:
        """Write ``mixture.json``."""
        if is_main():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, {"leaves": self.rows()})
