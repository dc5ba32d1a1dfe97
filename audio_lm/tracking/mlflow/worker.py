"""The process that sends a run to its store: ``python -m audio_lm.tracking.mlflow.worker FOLDER PARENT``.

It lives as long as its parent, and when that has ended or was killed a bounded time longer, to send what is left.
One process sends a run; a second one waits for the first. Each line it prints is for a person.
"""

import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from audio_lm.common.audio_units import Seconds
from audio_lm.tracking.mlflow.client import MlflowSync
from audio_lm.tracking.mlflow.store import TRACKING_ERRORS, error_summary
from audio_lm.tracking.mlflow.supervisor import ALL_SENT, FINISH, SOME_LEFT
from audio_lm.tracking.mlflow.uri import VARIABLE

LOCK = "tracking.lock"
REST: Seconds = 1.0  # between two looks at the journals
FIRST_PAUSE: Seconds = 2.0  # after a failure; doubled up to the longest
LONGEST_PAUSE: Seconds = 60.0
LAST_SECONDS: Seconds = 110.0  # after the end of the parent
POLITE = 10  # steps of niceness: training goes first


class Parent:
    """Whoever trains: alive, at its end, or gone.

    Args:
        process_id: of the parent.
    """

    def __init__(self, process_id: int) -> None:
        self._process_id = process_id
        self._told: str | None = None
        self._is_told = threading.Event()
        self._over_since: float | None = None
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def is_over(self) -> bool:
        """Whether nothing more will come."""
        # Data workers may hold the pipe open for some seconds after the parent has been killed.
        is_over = self._is_told.is_set() or os.getppid() != self._process_id
        if is_over and self._over_since is None:
            self._over_since = time.monotonic()
        return is_over

    def is_late(self) -> bool:
        """Whether the time for sending what is left is over too."""
        return self.is_over() and time.monotonic() - (self._over_since or 0.0) > LAST_SECONDS

    def was_lost(self) -> bool:
        """Whether it went without a word."""
        return self.is_over() and self._told != FINISH

    def wait(self, seconds: Seconds) -> None:
        """Until time is up or nothing more will come."""
        until = time.monotonic() + seconds
        while not self.is_over() and time.monotonic() < until:
            self._is_told.wait(min(REST, max(0.0, until - time.monotonic())))

    def _listen(self) -> None:
        self._told = sys.stdin.readline().strip()
        self._is_told.set()


class AlreadySentError(Exception):
    """Another process sends this run."""


@contextmanager
def alone(folder: Path, *, is_patient: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Be the one process that sends a run.

    Args:
        is_patient: whether to go on waiting for another one.

    Raises:
        AlreadySentError: another one does.
        OSError: the folder's disk keeps no locks.
    """
    with (folder / LOCK).open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if not is_patient():
                    raise AlreadySentError from error
            time.sleep(0.1)
        yield


def ship(delivery: MlflowSync, parent: Parent) -> int:
    """Send a run until its parent is over; the exit code."""
    pause, is_away = FIRST_PAUSE, False
    while True:
        is_last = parent.is_over()
        try:
            _once(delivery, parent, is_last=is_last)
        except TRACKING_ERRORS as error:
            if not is_away:
                delivery.say(_away(delivery, error))
            is_away = True
            if is_last:
                return SOME_LEFT
            parent.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            continue
        if is_away:
            delivery.say(f"{delivery.delivered.uri} answers again; what was kept is being sent")
        pause, is_away = FIRST_PAUSE, False
        if is_last:
            return ALL_SENT if not delivery.delivered.left else SOME_LEFT
        parent.wait(REST)


def _once(delivery: MlflowSync, parent: Parent, *, is_last: bool) -> None:
    delivery.bring()
    if is_last:
        delivery.bring_left()
        if parent.was_lost():
            delivery.end_dead_runs()


def _away(delivery: MlflowSync, error: Exception) -> str:
    return (
        f"{delivery.delivered.uri} does not answer ({error_summary(error)}); "
        f"training goes on, everything is kept in the run's folder"
    )


def main(folder: Path, parent_id: int) -> int:
    """Send a run for as long as its parent lives; the exit code."""
    parent = Parent(parent_id)
    os.nice(POLITE)
    # From here on a folder that is moved aside is still ours.
    os.chdir(folder)
    try:
        with alone(Path(), is_patient=lambda: not parent.is_late()):
            return ship(MlflowSync(Path(), os.environ[VARIABLE], _say, is_late=parent.is_late), parent)
    except AlreadySentError:
        _say("another process sends this run and does not end; `audio-lm track sync` sends what it leaves")
        return SOME_LEFT


def _say(line: str) -> None:
    try:
        print(line, flush=True)  # noqa: T201
    except BrokenPipeError:  # nobody is left to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
