"""Synchronous or asynchronous saves, one at a time, and the reaction to a failed save.

A new save waits for the one before it. A failed save is reported, and training continues with the checkpoints
that exist. The run stops after three failures in a row, or if a save fails that no other save follows.
"""

import copy
import threading
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from audio_lm.checkpoints.discovery import Checkpoint
from audio_lm.checkpoints.writer import CheckpointWriter, SaveFailed
from audio_lm.common import compat
from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import CheckpointError
from audio_lm.common.protocols import Report

MAX_FAILURES = 3


class WhenSaved(Protocol):
    """Action after a save."""

    def __call__(self, checkpoint: Checkpoint, progress: Mapping[str, Any], /) -> object:
        """Handle a new checkpoint, in the thread that wrote it."""


class Saver:
    """Save checkpoints through a writer, one after the other.

    Args:
        is_asynchronous: copy the tensors, and write them while the caller continues.
        report: receives the message of a failed save.
        when_saved: called on every rank with each new checkpoint and its progress, in the thread that wrote it.
    """

    def __init__(
        self,
        writer: CheckpointWriter,
        *,
        is_asynchronous: bool,
        report: Report,
        when_saved: WhenSaved,
    ) -> None:
        self.writer = writer
        self.report = report
        self.when_saved = when_saved
        self.num_failures = 0
        self._stager = compat.new_stager(pin_memory=torch.cuda.is_available()) if is_asynchronous else None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, tensors: Mapping[str, Any], *, is_last: bool = False, **values: Any) -> None:
        """Start to write a checkpoint.

        Args:
            is_last: no save follows, so wait until it is written, and stop the run if it fails.
            values: further arguments of ``CheckpointWriter.write``.

        Raises:
            CheckpointError: the last save failed, or the third in a row, or another start of the run has the folder.
        """
        self._wait_for_save()
        if self._stager is None or is_last:
            self._write(tensors, values)
            self._wait_for_save(is_last=is_last)
            return
        staged: Any = self._stager.stage(dict(tensors), non_blocking=self._stager.pin_memory)
        if self._stager.pin_memory:
            torch.cuda.synchronize()
        values = copy.deepcopy(values)
        # A daemon thread: at exit it may hang in a collective with ranks that are gone.
        self._thread = threading.Thread(
            target=self._write, args=(staged, values), daemon=True, name="checkpoint"
        )
        self._thread.start()

    def finish(self) -> None:
        """Wait for the save in progress.

        Raises:
            CheckpointError: it failed, and no save follows.
        """
        self._wait_for_save(is_last=True)

    def wait(self, seconds: Seconds) -> None:
        """Wait for the save in progress up to a timeout, and ignore its errors; for an exit with another error."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _write(self, tensors: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        try:
            self.when_saved(self.writer.write(tensors, **values), values["progress"])
        except BaseException as error:  # raised by _wait_for_save, in the thread of the caller
            self._error = error
        else:
            self.num_failures = 0

    def _wait_for_save(self, *, is_last: bool = False) -> None:
        """Wait for the save before, and raise or report its error."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if isinstance(error, SaveFailed):
            self._fail(error, is_last=is_last)
        elif error is not None:
            raise error

    def _fail(self, error: SaveFailed, *, is_last: bool) -> None:
        self.num_failures += 1
        message = f"checkpoint NOT saved ({self.num_failures} in a row), previous ones untouched"
        if is_last or self.num_failures >= MAX_FAILURES:
            raise CheckpointError(
                f"{message}: {error} -- expected a writable {self.writer.folder} -- free space there, then continue with "
                f"resume=auto"
            ) from error
        self.report(f"{message}; training continues: {error}")
