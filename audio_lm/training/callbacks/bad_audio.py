"""Conversations whose audio could not be used: written down as they come, counted, and a stop when they are too many.

Few of them are life; many of them are a disk that is gone, and a run must not
go on thinning its data.
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
from audio_lm.tracking.event_log.journal import JsonlWriter, WriteGuard, no_guard
from audio_lm.training.distributed import all_gather_object, all_reduce_sum

FILE = "bad_audio.jsonl"
MIN_CONVERSATIONS = 1000
"""Conversations that a share is taken of at least, so that one bad clip among the first does not end a run."""

MOST_NAMED = 8
log = logging.getLogger(__name__)


class BadAudioMonitor(Callback):
    """Keeps ``bad_audio.jsonl`` of a stage, one line per fault, and stops above a cap.

    Args:
        max_bad_fraction: of the conversations heard so far.
        tensor_parallel: neighbouring ranks that hear the same, of which one counts.
        before: what ``counts`` gave at the checkpoint that is gone on from.
        writing: see ``JsonlWriter``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bad_fraction: float,
        tensor_parallel: int = 1,
        log_every: int = 10,
        before: Mapping[str, Any] | None = None,
        writing: WriteGuard = no_guard,
    ) -> None:
        self.writing = writing
        self.path = folder / FILE
        self.lines: JsonlWriter | None = None
        self.before: Counter[tuple[object, ...]] = Counter()
        self.max_bad_fraction = max_bad_fraction
        self.tensor_parallel = tensor_parallel
        self.log_every = log_every
        self.bad_by_source: Counter[str] = Counter((before or {}).get("bad", {}))
        self.num_bad = self.bad_by_source.total()
        self.num_conversations = (before or {}).get("conversations", 0)
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
        if self.num_bad and trainer.global_step % self.log_every == 0 and trainer.logger is not None:
            counts = {
                f"bad_clips/{source.replace('/', ' ')}": float(count)
                for source, count in self.bad_by_source.items()
            }
            trainer.logger.log_metrics(counts, step=trainer.global_step)

    def counts(self) -> dict[str, Any]:
        """Everything counted, as a checkpoint keeps it."""
        return {"conversations": self.num_conversations, "bad": dict(self.bad_by_source)}

    def _write(self, step: int, faults: Sequence[tuple[str, str, str, str, str]]) -> None:
        """Keep the faults of all ranks in mind; the first rank writes them down."""
        rows = [
            {"step": step, "cut": cut_id, "task": task, "source": source, "reason": reason, "detail": detail}
            for cut_id, task, source, reason, detail in faults
        ]
        if is_main():
            self._list(rows)
        self.bad_by_source.update(str(row["source"]) for row in rows)
        self.last += [f"{row['cut']} of {row['source']}: {row['reason']}" for row in rows]
        self.num_bad += len(rows)

    def _list(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Write them down where the disk takes them; counted they are all the same."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.lines is None:
                self.lines = JsonlWriter(self.path, write_guard=self.writing)
                self.before = Counter(_key(line.record) for line in read_lines(self.path) if line.record)
        except OSError as error:
            log.warning(
                "%s cannot be written (%s); training goes on, and clips that could not be used are counted only",
                self.path, error.strerror,
            )  # fmt: skip
            return
        for row in rows:
            if self.before[_key(row)]:
                self.before[_key(row)] -= 1  # a killed attempt, whose steps come again, has written it
            else:
                self.lines.append(row)

    def _check(self) -> None:
        """Of all ranks, which know the same and so stop at the same step.

        Raises:
            DataError: names the last of them.
        """
        if self.num_bad > self.max_bad_fraction * max(MIN_CONVERSATIONS, self.num_conversations):
            named = "; ".join(self.last[-MOST_NAMED:])
            raise DataError(
                f"{self.num_bad} of {self.num_conversations} clips could not be used, over "
                f"max_bad_fraction={self.max_bad_fraction:g} -- {named} -- see {self.path}; repair them, or raise the share"
            )


def _key(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row.get(name) for name in ("step", "cut", "task"))
