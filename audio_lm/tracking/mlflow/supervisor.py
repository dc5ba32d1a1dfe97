"""Supervisor of the sync process, on the side of training: start, restart, log, wait.

A process instead of a thread: it shares no lock with training, it survives a kill of training until the remaining
data is sent, and its import of mlflow (2 s, 200 MB) does not delay the first step.
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
LOG = "tracking.log"  # stderr of the sync process
FINISH = "finish"  # line on stdin: no more data follows
ALL_SENT, SOME_LEFT = 0, 3  # exit codes of the sync process
FIRST_PAUSE: Seconds = 1.0  # before a restart; doubled up to the longest
LONGEST_PAUSE: Seconds = 60.0
MAX_SHORT_LIVES = 6  # successive processes that end within LONGEST_PAUSE, before the supervisor gives up

log = logging.getLogger(__name__)


class SyncProcess:
    """Sync process of a run: lives as long as this process and sends the remaining data afterwards.

    It is restarted if it dies. Methods do not raise, and only ``finish`` blocks.
    """

    def __init__(self, folder: Path, uri: str) -> None:
        """Start the process.

        Args:
            folder: folder of the recipe's run.
            uri: tracking URI with its password; passed in the environment, where ``ps`` does not show it.
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
        """Process id; None if the process is not running."""
        child = self._child
        return None if child is None or child.poll() is not None else child.pid

    def finish(self, seconds: Seconds) -> bool:
        """Send the remaining data and end the process; True if all data is in the store."""
        self._is_finishing.set()
        self._send_finish()
        self._thread.join(seconds)
        self._is_given_up = True
        return not self._thread.is_alive() and self._exit_code == ALL_SENT

    def _watch(self) -> None:
        pause, num_short_lives = FIRST_PAUSE, 0
        while not self._is_given_up and num_short_lives < MAX_SHORT_LIVES:
            start = time.monotonic()
            try:
                self._exit_code = self._run_once()
                if self._exit_code in (ALL_SENT, SOME_LEFT):
                    return
                reason = f"exit code {self._exit_code}"
            except OSError as error:
                reason = str(error.strerror)
            num_short_lives += 1
            if time.monotonic() - start > LONGEST_PAUSE:
                pause, num_short_lives = FIRST_PAUSE, 0
            log.warning(
                "tracking: the sync process has ended (%s), see %s; %s, no data is lost",
                reason, self._folder / LOG,
                f"restart in {pause:.0f} s" if num_short_lives < MAX_SHORT_LIVES else "it is not restarted",
            )  # fmt: skip
            self._is_finishing.wait(pause)
            if self._is_finishing.is_set():
                time.sleep(0.1)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _run_once(self) -> int:
        """Run the process once, forward its messages, and return its exit code."""
        with _log_file(self._folder) as errors:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, str(self._folder), str(os.getpid())],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace",
                env=self._environment, cwd=self._folder,
                start_new_session=True,  # not ended by Ctrl-C or a launcher that ends our process group
            )  # fmt: skip
        self._child = child
        if self._is_finishing.is_set():
            self._send_finish()
        assert child.stdout is not None, "stdout is a pipe"
        with child.stdout:
            for line in child.stdout:
                log.warning("tracking: %s", line.rstrip())
        return child.wait()

    def _send_finish(self) -> None:
        """Signal the process that no more data follows."""
        child = self._child
        if child is None or child.stdin is None or child.stdin.closed:
            return
        try:
            child.stdin.write(FINISH + "\n")
            child.stdin.close()
        except (OSError, ValueError):
            log.debug("tracking: the sync process had already ended")


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
