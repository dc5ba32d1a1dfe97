"""Conversations with unreadable audio: recorded and counted; training stops when they are too many.

A few are normal. Many mean that a disk is gone, and a run must not continue on ever fewer data.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from audio_lm.common.env import is_main
from audio_lm.common.errors import DataError
from audio_lm.common.files import read_lines
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.tracking.event_log.journal import JsonlWriter
from audio_lm.training.callbacks.run_guard import LocalGuard, RunGuard
from audio_lm.training.distributed import all_gather_object, all_reduce_sum

FILE = "bad_audio.jsonl"
MIN_CONVERSATIONS = 1000
"""Least denominator of the fraction, so that one bad clip among the first does not end a run."""

MOST_NAMED = 8
log = logging.getLogger(__name__)


class BadAudioMonitor(Callback):
    """Writes ``bad_audio.jsonl`` of a stage, one line per fault, and stops above a limit.

    Args:
        max_bad_fraction: of the conversations trained on so far.
        tensor_parallel: number of adjacent ranks that train on the same packs; one of them is counted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bad_fraction: float,
        tensor_parallel: int = 1,
        log_every: int = 10,
        guard: RunGuard | None = None,
    ) -> None:
        self.guard = guard or LocalGuard()
        self.path = folder / FILE
        self.lines: JsonlWriter | None = None
        self.written_before: Counter[tuple[object, ...]] = Counter()
        self.max_bad_fraction = max_bad_fraction
        self.tensor_parallel = tensor_parallel
        self.log_every = log_every
        self.bad_by_source: Counter[str] = Counter()
        self.num_bad = self.num_conversations = 0
        self.last: list[str] = []

    def on_train_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Any,
        batch: tuple[PackedBatch, ...],
        batch_idx: int,
    ) -> None:
        faults = [fault for pack in batch for fault in pack.faults]
        num_bad, num_conversations = all_reduce_sum(len(faults), sum(len(pack) for pack in batch))
        self.num_conversations += int(num_conversations) // self.tensor_parallel
        if num_bad:
            of_ranks = all_gather_object(faults, tensor_parallel=self.tensor_parallel)
            self._write(trainer.global_step, [fault for of_rank in of_ranks for fault in of_rank])
            self._check()
        if self.num_bad and trainer.global_step % self.log_every == 0:
            counts = {
                f"bad_clips/{source.replace('/', ' ')}": float(count)
                for source, count in self.bad_by_source.items()
            }
            for logger in trainer.loggers:
                logger.log_metrics(counts, step=trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """Counts of the stage so far."""
        return {"conversations": self.num_conversations, "bad": dict(self.bad_by_source)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.bad_by_source = Counter(state_dict["bad"])
        self.num_bad = self.bad_by_source.total()
        self.num_conversations = state_dict["conversations"]

    def _write(self, step: int, faults: Sequence[tuple[str, str, str, str, str]]) -> None:
        """Count the faults of all ranks; the first rank writes them."""
        rows = [
            {"step": step, "cut": cut_id, "task": task, "source": source, "reason": reason, "detail": detail}
            for cut_id, task, source, reason, detail in faults
        ]
        if is_main():
            self._append(rows)
        self.bad_by_source.update(str(row["source"]) for row in rows)
        self.last += [f"{row['cut']} of {row['source']}: {row['reason']}" for row in rows]
        self.num_bad += len(rows)

    def _append(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Append rows to the file; where the disk refuses them they are still counted."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.lines is None:
                self.lines = JsonlWriter(self.path, write_guard=self.guard.writing)
                self.written_before = Counter(
                    _key(line.record) for line in read_lines(self.path) if line.record
                )
        except OSError as error:
            log.warning(
                "%s cannot be written (%s); training continues, and unreadable clips are only counted",
                self.path, error.strerror,
            )  # fmt: skip
            return
        for row in rows:
            if self.written_before[_key(row)]:
                self.written_before[_key(row)] -= 1  # by a killed attempt, whose steps are repeated
            else:
                self.lines.append(row)

    def _check(self) -> None:
        """Compare with the limit; all ranks have the same counts, and so stop at the same step.

        Raises:
            DataError: names the last of them.
        """
        if self.num_bad > self.max_bad_fraction * max(MIN_CONVERSATIONS, self.num_conversations):
            named = "; ".join(self.last[-MOST_NAMED:])
            raise DataError(
                f"{self.num_bad} of {self.num_conversations} clips could not be used, over "
                f"max_bad_fraction={self.max_bad_fraction:g} -- {named} -- see {self.path}; "
                f"repair them, or raise max_bad_fraction"
            )


def _key(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row.get(name) for name in ("step", "cut", "task"))
