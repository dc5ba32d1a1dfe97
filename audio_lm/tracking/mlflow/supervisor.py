"""The process that sends a run to its store, seen from the one that trains: started, listened to, waited for.

A process and not a thread: it shares no lock with training, outlives a kill for as long as it needs to send what is
left, and what it imports (mlflow, two seconds and 200 MB) is not in the way of the first step.
"""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from audio_lm.common.audio_units import Seconds
from audio_lm.tracking.mlflow.uri import VARIABLE

MODULE = "audio_lm.tracking.mlflow.worker"
LOG = "tracking.log"  # what libraries say in that process
FINISH = "finish"
ALL_SENT, SOME_LEFT = 0, 3  # its exit codes
FIRST_PAUSE: Seconds = 1.0  # before it is started again
LONGEST_PAUSE: Seconds = 60.0
MOST_LIVES = 6  # that end soon, before it is left at that

log = logging.getLogger(__name__)


class SyncProcess:
    """Sends what is in a run's folder for as long as this process lives, and a while longer.

    It is started again when it dies. Nothing here raises, and nothing but ``finish`` waits.
    """

    def __init__(self, folder: Path, uri: str) -> None:
        """Start it.

        Args:
            folder: of the recipe's run.
            uri: of the store, with its password; it goes by the environment, where ``ps`` does not show it.
        """
        self._folder = folder
        self._environment = _environment(uri)
        self._child: subprocess.Popen[str] | None = None
        self._exit_code: int | None = None
        self._is_finishing = threading.Event()
        self._is_given_up = False
        self._thread = threading.Thread(target=self._watch, name="audio_lm-tracking", daemon=True)
        self._thread.start()

    @property
    def process_id(self) -> int | None:
        """Of the process, where it runs."""
        child = self._child
        return None if child is None or child.poll() is not None else child.pid

    def finish(self, seconds: Seconds) -> bool:
        """Have it send what is left and end; True when the store has everything."""
        self._is_finishing.set()
        self._tell()
        self._thread.join(seconds)
        self._is_given_up = True
        return not self._thread.is_alive() and self._exit_code == ALL_SENT

    def _watch(self) -> None:
        pause, num_short_lives = FIRST_PAUSE, 0
        while not self._is_given_up and num_short_lives < MOST_LIVES:
            began = time.monotonic()
            try:
                self._exit_code = self._one_life()
                if self._exit_code in (ALL_SENT, SOME_LEFT):
                    return
                why = f"exit code {self._exit_code}"
            except OSError as error:
                why = str(error.strerror)
            num_short_lives += 1
            if time.monotonic() - began > LONGEST_PAUSE:
                pause, num_short_lives = FIRST_PAUSE, 0
            log.warning(
                "tracking: the process that sends the run has ended (%s), see %s; %s, nothing is lost",
                why, self._folder / LOG,
                f"started again in {pause:.0f} s" if num_short_lives < MOST_LIVES else "it stays so",
            )  # fmt: skip
            self._is_finishing.wait(pause)
            if self._is_finishing.is_set():
                time.sleep(0.1)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _one_life(self) -> int:
        """Start the process, pass on what it says, and return its exit code."""
        with _log_file(self._folder) as errors:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, str(self._folder), str(os.getpid())],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace",
                env=self._environment, cwd=self._folder,
                start_new_session=True,  # neither Ctrl-C nor a launcher that ends our group ends it
            )  # fmt: skip
        self._child = child
        if self._is_finishing.is_set():
            self._tell()
        assert child.stdout is not None, "it was asked for"
        with child.stdout:
            for line in child.stdout:
                log.warning("tracking: %s", line.rstrip())
        return child.wait()

    def _tell(self) -> None:
        """Say that nothing more will come."""
        child = self._child
        if child is None or child.stdin is None or child.stdin.closed:
            return
        try:
            child.stdin.write(FINISH + "\n")
            child.stdin.close()
        except (OSError, ValueError):
            log.debug("tracking: the process that sends the run had ended before")


def _environment(uri: str) -> dict[str, str]:
    package = str(Path(__file__).parents[3])
    others = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        VARIABLE: uri,
        "PYTHONPATH": f"{package}{os.pathsep}{others}" if others else package,
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }


def _log_file(folder: Path) -> IO[bytes]:
    try:
        return (folder / LOG).open("ab")
    except OSError:
        return open(os.devnull, "ab")
