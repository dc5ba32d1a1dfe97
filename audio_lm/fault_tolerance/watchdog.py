"""Watchdog of one rank: a separate process that still runs if the rank is stopped.

It reads the heartbeats of the rank from standard input and writes them into the run folder. It kills the rank
if heartbeats stop, if a phase makes no progress within its limit, or if the rank stays after another rank has
failed; the launcher then restarts the ranks. It counts time in its own loop, so a pause of the whole machine
kills nothing.
"""

import json
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from audio_lm.common.audio_units import Seconds
from audio_lm.common.files import write_json
from audio_lm.fault_tolerance.heartbeat import FOLDER, TRACE_SIGNAL, beats_in
from audio_lm.fault_tolerance.launcher_env import stop_torchrun
from audio_lm.fault_tolerance.processes import die_with_parent, parent_of, state_of
from audio_lm.fault_tolerance.restarts import (
    FROZEN,
    RankError,
    errors_in,
    put_error,
)

POLL: Seconds = 0.25
EXIT_TIMEOUT: Seconds = 20.0  # for a rank to leave after another rank has failed
TRACE_SECONDS: Seconds = 1.0  # for the rank to write its traceback
WRITE_TIMEOUT: Seconds = 5.0
MAX_NAMED = 4
WORDS_OF_STATE = {"T": "stopped by a signal", "t": "stopped by a debugger", "D": "waiting for a device"}


class Watch:
    """Liveness of a rank by its heartbeats; the caller passes the time, and there are no side effects."""

    def __init__(self) -> None:
        self.beat: dict[str, Any] = {}
        self.silent: Seconds = 0.0  # since the last heartbeat
        self.still: Seconds = 0.0  # since the last progress
        self.since_error: Seconds = 0.0

    def receive(self, beat: dict[str, Any]) -> None:
        """Receive a heartbeat."""
        if beat.get("ticks") != self.beat.get("ticks"):
            self.still = 0.0
        self.beat, self.silent = beat, 0.0

    def pass_time(self, seconds: Seconds, *, has_failed: bool) -> None:
        """Advance the time.

        Args:
            has_failed: a rank of this attempt has failed.
        """
        self.silent += seconds
        self.still += seconds
        self.since_error = self.since_error + seconds if has_failed else 0.0

    @property
    def fault(self) -> str:
        """Reason to kill the rank; empty if it is alive."""
        limit, silence = self.beat.get("limit"), self.beat.get("silence")
        if silence is not None and self.silent > silence:
            return f"no heartbeat for {self.silent:.0f} s"
        if limit is not None and self.still > limit:
            return f"no progress for {self.still:.0f} s in phase {self.beat['phase']!r}"
        if self.since_error > EXIT_TIMEOUT:
            return f"still running {self.since_error:.0f} s after a rank has failed"
        return ""


class HeartbeatWriter:
    """Write heartbeats into the run folder and read errors there, in a thread, as the disk may hang."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.has_failed = False
        self._beat: dict[str, Any] = {}
        self._is_new = threading.Event()
        threading.Thread(target=self._write_loop, daemon=True).start()

    def write(self, beat: dict[str, Any]) -> None:
        """Schedule a heartbeat for writing; a newer one replaces it."""
        self._beat = beat
        self._is_new.set()

    def _write_loop(self) -> None:
        while True:
            self._is_new.wait()
            self._is_new.clear()
            beat = self._beat
            try:
                write_json(
                    self.folder / FOLDER / f"rank-{beat['rank']}.json",
                    beat | {"time": time.time()},
                    is_synced=False,  # a newer one follows a second later
                )
            except OSError:
                continue  # a full disk must not stop the watchdog
            self.has_failed = any(error.attempt == beat["attempt"] for error in errors_in(self.folder))


def watch(folder: Path) -> None:
    """Watch the parent process until it ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()
    rank_pid, watched, writer, rest = os.getppid(), Watch(), HeartbeatWriter(folder), b""
    last = time.monotonic()
    while True:
        if select.select([0], [], [], POLL)[0]:
            received = os.read(0, 1 << 16)
            if not received:
                return
            *lines, rest = (rest + received).split(b"\n")
            for line in lines:
                watched.receive(json.loads(line))
            if lines and watched.beat["is_open"]:
                writer.write(watched.beat)
        now = time.monotonic()
        # A longer turn means that this process was stopped too, so its time does not count.
        watched.pass_time(min(now - last, 4 * POLL), has_failed=writer.has_failed)
        last = now
        if watched.fault and os.getppid() == rank_pid:
            _kill(rank_pid, folder, watched)
            return


def _kill(pid: int, folder: Path, watched: Watch) -> None:
    """Write the error of a rank with its traceback, and kill the rank."""
    state = state_of(pid)
    words = f"{watched.fault}; the process is {WORDS_OF_STATE.get(state, 'alive')} (state {state}), pid {pid}"
    sys.stderr.write(
        f"audio-lm: rank {watched.beat['rank']}: {words}; its watchdog kills it, and torchrun may restart the ranks\n"
    )
    sys.stderr.flush()
    if state not in "Tt" and watched.beat["is_open"]:
        os.kill(pid, TRACE_SIGNAL)
        time.sleep(TRACE_SECONDS)
    if watched.beat["is_open"] and not watched.since_error:
        is_stopped = state in "Tt"
        # A disk that hangs must not keep the rank alive.
        thread = threading.Thread(
            target=_write_error, args=(folder, watched, words), kwargs={"is_stopped": is_stopped}, daemon=True
        )
        thread.start()
        thread.join(WRITE_TIMEOUT)
    os.kill(pid, signal.SIGKILL)


def _write_error(folder: Path, watched: Watch, words: str, *, is_stopped: bool) -> None:
    beat = watched.beat
    trace = folder / FOLDER / f"rank-{beat['rank']}.trace"
    error = RankError(
        rank=beat["rank"],
        kind=FROZEN,
        text=f"{words}{_other_ranks(folder, beat['rank'])}",
        stage=beat["stage"],
        step=beat["step"],
        clip_ids=(),
        launch=beat["launch"],
        attempt=beat["attempt"],
        time=time.time(),
        trace=trace.read_text(encoding="utf-8", errors="replace") if trace.is_file() else "",
    )
    if put_error(folder, error, is_repeatable=not is_stopped):
        stop_torchrun(parent_of(beat["pid"]))


def _other_ranks(folder: Path, rank: int) -> str:
    """Phases of the other ranks, by their last heartbeats."""
    phases = [
        f"rank {beat['rank']} in phase {beat['phase']!r}" for beat in beats_in(folder) if beat["rank"] != rank
    ]
    return "; " + ", ".join(phases[:MAX_NAMED]) if phases else ""


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
