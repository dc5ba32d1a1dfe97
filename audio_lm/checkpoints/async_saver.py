"""When a checkpoint is written, and what happens when it is not.

One save at a time: a new one waits for the one before it. A failure is told, and training goes on
with the checkpoints that are there; after three in a row, or where nothing comes after it, the run stops.
"""

import copy
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.distributed.checkpoint._state_dict_stager import StateDictStager

from audio_lm.checkpoints.discovery import Checkpoint
from audio_lm.checkpoints.writer import CheckpointWriter, SaveFailed
from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import CheckpointError

MAX_FAILURES = 3


class Saver:
    """Saves through a store, one after the other.

    Args:
        is_asynchronous: what is saved is copied, and written while the caller goes on.
        report: where a failure is told.
        when_saved: called with every new checkpoint and its progress, by every rank, in the thread that wrote it.
    """

    def __init__(
        self,
        store: CheckpointWriter,
        *,
        is_asynchronous: bool,
        report: Callable[[str], None],
        when_saved: Callable[[Checkpoint, Mapping[str, Any]], None],
    ) -> None:
        self.store = store
        self.report = report
        self.when_saved = when_saved
        self.num_failures = 0
        # Copies into memory that it keeps. ``DefaultStager`` of torch 2.11 and 2.12 can be used once only.
        self._stager = StateDictStager(pin_memory=torch.cuda.is_available()) if is_asynchronous else None
        self._writing: threading.Thread | None = None
        self._outcome: BaseException | None = None

    def save(self, tensors: Mapping[str, Any], *, is_last: bool = False, **what: Any) -> None:
        """Begin to write a checkpoint; see ``CheckpointWriter.write``.

        Args:
            is_last: it is waited for, and a failure stops the run: nothing comes after it.

        Raises:
            CheckpointError: it was the last, or the third in a row, that could not be written; or the
                run belongs to somebody else by now.
        """
        self._settle()
        if self._stager is None or is_last:
            self._write(tensors, what)
            self._settle(is_last=is_last)
            return
        staged: Any = self._stager.stage(dict(tensors), non_blocking=self._stager.pin_memory)
        if self._stager.pin_memory:
            torch.cuda.synchronize()
        what = copy.deepcopy(what)
        # A thread that nobody waits for at exit: its messages go to ranks that may be gone.
        self._writing = threading.Thread(
            target=self._write, args=(staged, what), daemon=True, name="checkpoint"
        )
        self._writing.start()

    def finish(self) -> None:
        """Wait for what is being written.

        Raises:
            CheckpointError: it could not be written, and nothing comes after it.
        """
        self._settle(is_last=True)

    def wait(self, seconds: Seconds) -> None:
        """Let what is being written come to its end, if it does soon; for who leaves with another error."""
        if self._writing is not None:
            self._writing.join(seconds)

    def _write(self, tensors: Mapping[str, Any], what: Mapping[str, Any]) -> None:
        try:
            self.when_saved(self.store.write(tensors, **what), what["progress"])
        except BaseException as error:  # handed on by _settle, in the thread of the caller
            self._outcome = error
        else:
            self.num_failures = 0

    def _settle(self, *, is_last: bool = False) -> None:
        """See how the save before ended."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, SaveFailed):
            self._fail(outcome, is_last=is_last)
        elif outcome is not None:
            raise outcome

    def _fail(self, why: SaveFailed, *, is_last: bool) -> None:
        self.num_failures += 1
        said = f"checkpoint NOT saved ({self.num_failures} in a row), previous ones untouched"
        if is_last or self.num_failures >= MAX_FAILURES:
            raise CheckpointError(
                f"{said}: {why} -- {self.store.folder} has to take one -- make room there, and go on with resume=auto"
            ) from why
        self.report(f"{said}; training goes on: {why}")
