"""Sync process of a run: ``python -m audio_lm.tracking.mlflow.worker FOLDER PARENT``.

It runs as long as its parent. After the parent's end or kill it runs for a bounded time to send the remaining data.
One process at a time syncs a run; a second one waits for the first. Lines on stdout are messages for the user.
"""

import fcntl
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audio_lm.common.audio_units import Seconds
from audio_lm.common.protocols import Condition
from audio_lm.tracking.mlflow.client import MlflowSync
from audio_lm.tracking.mlflow.store import TRACKING_ERRORS, error_summary
from audio_lm.tracking.mlflow.supervisor import ALL_SENT, FINISH, SOME_LEFT
from audio_lm.tracking.mlflow.uri import VARIABLE

LOCK = "tracking.lock"
INTERVAL: Seconds = 1.0  # between two syncs
FIRST_PAUSE: Seconds = 2.0  # after a failure; doubled up to the longest
LONGEST_PAUSE: Seconds = 60.0
LAST_SECONDS: Seconds = 110.0  # limit after the end of the parent
NICENESS = 10  # training has priority


class Parent:
    """State of the training process: running, finishing or dead.

    Args:
        process_id: process id of the parent.
    """

    def __init__(self, process_id: int) -> None:
        self._process_id = process_id
        self._message: str | None = None
        self._has_message = threading.Event()
        self._over_since: float | None = None
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def is_over(self) -> bool:
        """True if no more data follows."""
        # DataLoader workers may keep the pipe open for some seconds after the parent was killed.
        is_over = self._has_message.is_set() or os.getppid() != self._process_id
        if is_over and self._over_since is None:
            self._over_since = time.monotonic()
        return is_over

    def is_late(self) -> bool:
        """True if the time for sending remaining data is over too."""
        return self.is_over() and time.monotonic() - (self._over_since or 0.0) > LAST_SECONDS

    def was_lost(self) -> bool:
        """True if the parent ended without the message ``finish``."""
        return self.is_over() and self._message != FINISH

    def wait(self, seconds: Seconds) -> None:
        """Wait until the timeout or until no more data follows."""
        until = time.monotonic() + seconds
        while not self.is_over() and time.monotonic() < until:
            self._has_message.wait(min(INTERVAL, max(0.0, until - time.monotonic())))

    def _listen(self) -> None:
        self._message = sys.stdin.readline().strip()
        self._has_message.set()


class SyncLockedError(Exception):
    """Lock of a run that another process is syncing."""


@contextmanager
def sync_lock(folder: Path, *, is_patient: Condition = lambda: False) -> Iterator[None]:
    """Hold the lock of the only process that syncs a run.

    Args:
        is_patient: returns True to keep waiting for another process.

    Raises:
        SyncLockedError: another process has the lock.
        OSError: the file system has no locks.
    """
    with (folder / LOCK).open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if not is_patient():
                    raise SyncLockedError from error
            time.sleep(0.1)
        yield


def sync_until_parent_ends(sync: MlflowSync, parent: Parent) -> int:
    """Sync a run repeatedly until its parent has ended; returns the exit code."""
    pause, is_unreachable = FIRST_PAUSE, False
    while True:
        is_last = parent.is_over()
        try:
            _sync_once(sync, parent, is_last=is_last)
        except TRACKING_ERRORS as error:
            if not is_unreachable:
                sync.notify(_unreachable(sync, error))
            is_unreachable = True
            if is_last:
                return SOME_LEFT
            parent.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            continue
        if is_unreachable:
            sync.notify(f"{sync.state.uri} is reachable again; the kept data is being sent")
        pause, is_unreachable = FIRST_PAUSE, False
        if is_last:
            return ALL_SENT if not sync.state.left else SOME_LEFT
        parent.wait(INTERVAL)


def _sync_once(sync: MlflowSync, parent: Parent, *, is_last: bool) -> None:
    sync.send_new()
    if is_last:
        sync.send_deferred()
        if parent.was_lost():
            sync.end_dead_runs()


def _unreachable(sync: MlflowSync, error: Exception) -> str:
    return (
        f"{sync.state.uri} is unreachable ({error_summary(error)}); "
        f"training continues, all data is kept in the run's folder"
    )


def main(folder: Path, parent_id: int) -> int:
    """Sync the run in a folder until its parent has ended; returns the exit code."""
    parent = Parent(parent_id)
    os.nice(NICENESS)
    # Relative paths stay valid if the folder is moved.
    os.chdir(folder)
    try:
        with sync_lock(Path(), is_patient=lambda: not parent.is_late()):
            return sync_until_parent_ends(
                MlflowSync(Path(), os.environ[VARIABLE], _print, is_late=parent.is_late), parent
            )
    except SyncLockedError:
        _print("another process is syncing this run and does not end; `audio-lm track sync` sends the rest")
        return SOME_LEFT


def _print(line: str) -> None:
    try:
        print(line, flush=True)  # noqa: T201
    except BrokenPipeError:  # the parent is dead
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
