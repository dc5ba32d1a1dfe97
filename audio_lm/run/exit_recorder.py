"""The reason why a start of a run ends, written into the run folder, and the cause on ranks that only lost a peer.

``exit_reason.json`` is for people and launchers; ``errors/rank-N.json`` lets a restart recognise an error that
repeats. Nothing is written by a start that is not the newest any more.
"""

import logging
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from audio_lm.common.audio_units import Seconds
from audio_lm.common.env import is_main, rank
from audio_lm.fault_tolerance.config import FaultToleranceConfig
from audio_lm.fault_tolerance.exit_status import (
    ExitReason,
    Reason,
    RunEndedError,
    read_exit_reason,
    write_exit_reason,
)
from audio_lm.fault_tolerance.heartbeat import Heartbeat
from audio_lm.fault_tolerance.launcher_env import Launch
from audio_lm.fault_tolerance.restarts import error_of, first_error, is_lost_peer, put_error
from audio_lm.run.lease_watch import LeaseWatch

CAUSE_PATIENCE: Seconds = 2.0  # for the error of the peer that was lost
log = logging.getLogger(__name__)


class ExitRecorder:
    """Context of a whole start that records its end.

    Args:
        folder: of the run.
    """

    def __init__(
        self,
        folder: Path,
        config: FaultToleranceConfig,
        launch: Launch,
        heartbeat: Heartbeat,
        lease: LeaseWatch,
    ) -> None:
        self.folder = folder
        self.config = config
        self.launch = launch
        self.heartbeat = heartbeat
        self.lease = lease
        self._noted: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._write("finished", "all stages are trained and evaluated")
            return
        self.note_error(error)
        if isinstance(error, KeyboardInterrupt):
            self._write("interrupted", str(error) or "stopped by Ctrl-C")
        elif isinstance(error, RunEndedError):
            if self.lease.is_newest and is_main():
                with _tolerate_full_disk(self.folder):
                    write_exit_reason(self.folder, error.reason)
        elif isinstance(error, Exception):
            self._raise_cause(error)

    def note_error(self, error: BaseException) -> None:
        """Write the error that ends this rank, at once and only once."""
        if not self.lease.is_newest or error is self._noted or not isinstance(error, Exception):
            return
        if isinstance(error, RunEndedError):
            return
        self._noted = error
        attempt, heartbeat = self.lease.attempt, self.heartbeat
        heartbeat.phase("failed", self.config.frozen_seconds)
        if is_lost_peer(error) and first_error(self.folder, attempt, but=rank(), wait=CAUSE_PATIENCE):
            return
        own = error_of(
            error,
            rank=rank(),
            stage=heartbeat.stage,
            step=heartbeat.step,
            clip_ids=heartbeat.clip_ids,
            launch=self.launch,
            attempt=attempt,
        )
        with _tolerate_full_disk(self.folder):
            put_error(self.folder, own, is_repeatable=not is_lost_peer(error))

    def preempted(self, number: int, of_rank: int) -> ExitReason:
        """Exit reason of a run that received a stop signal.

        Args:
            number: of the signal.
            of_rank: the rank that received it.
        """
        stage, step = self.heartbeat.stage, self.heartbeat.step
        name = signal.Signals(number).name
        # torchrun also sends SIGTERM to its ranks when a node returns, and then they are to continue.
        may_continue = self.config.any_num_nodes and number == signal.SIGTERM
        place = "before its first step" if step is None else f"after step {step} of stage {stage!r}"
        return ExitReason(
            "preempted",
            f"stopped {place}: rank {of_rank} received {name}; resume=auto continues from there",
            "" if may_continue else self.launch.id,
            self.lease.attempt,
            signal=name,
            rank=of_rank,
            stage=stage,
            step=step,
        )

    def _raise_cause(self, error: Exception) -> None:
        """Replace an error by its real cause, where this rank knows it.

        Raises:
            RunEndedError: the launch has ended, or a peer failed first; with its message.
        """
        reason = read_exit_reason(self.folder)
        if reason is not None and reason.ends(self.launch):
            traceback.print_exception(error)
            raise RunEndedError(reason) from error
        is_lost = self.lease.is_taken and is_lost_peer(error)
        cause = first_error(self.folder, self.lease.attempt, but=rank()) if is_lost else None
        if cause is not None:
            sys.stderr.write(cause.trace)
            sentence = f"{cause.sentence}; that rank failed first, rank {rank()} has only lost it"
            raise RunEndedError(ExitReason("lost", sentence, self.launch.id, self.lease.attempt)) from error

    def _write(self, reason: Reason, sentence: str) -> None:
        if is_main() and self.lease.is_newest:
            exit_reason = ExitReason(
                reason, sentence, self.launch.id, self.lease.attempt, step=self.heartbeat.step
            )
            with _tolerate_full_disk(self.folder):
                write_exit_reason(self.folder, exit_reason)


@contextmanager
def _tolerate_full_disk(folder: Path) -> Iterator[None]:
    """Turn a disk that cannot be written into a warning; exit code and standard error still show the reason."""
    try:
        yield
    except OSError as error:
        log.warning(
            "fault tolerance: %s cannot be written (%s); the reason why the run ends is not kept there",
            folder, error.strerror,
        )  # fmt: skip
