"""The watchdog of one rank: a process beside it that is not stopped with it.

It reads the rank's pulse from its standard input, writes it into the run folder, and
kills the rank when it shows no life, ends nothing for longer than it may, or
stays after a rank has failed; who started the ranks begins again then. Time counts in the
watchdog's own turns, so a machine or a terminal that stops both ends neither.
"""

import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
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

TURN: Seconds = 0.25
AFTER_ERROR: Seconds = 20.0  # that a rank may take to leave when a rank has failed
FOR_TRACES: Seconds = 1.0
FOR_WRITING: Seconds = 5.0
MOST_NAMED = 4
WORDS_OF_STATE = {"T": "stopped by a signal", "t": "stopped by a debugger", "D": "waiting for a device"}


class Watch:
    """Judges a pulse; time is handed in, nothing is done."""

    def __init__(self) -> None:
        self.beat: dict[str, Any] = {}
        self.silent: Seconds = 0.0
        self.still: Seconds = 0.0
        self.since_error: Seconds = 0.0

    def receive(self, beat: dict[str, Any]) -> None:
        """Take a beat."""
        if beat.get("ticks") != self.beat.get("ticks"):
            self.still = 0.0
        self.beat, self.silent = beat, 0.0

    def pass_time(self, seconds: Seconds, *, has_failed: bool) -> None:
        """Let time go by."""
        self.silent += seconds
        self.still += seconds
        self.since_error = self.since_error + seconds if has_failed else 0.0

    @property
    def verdict(self) -> str:
        """Why the rank has to end; empty while it is well."""
        limit, silence = self.beat.get("limit"), self.beat.get("silence")
        if silence is not None and self.silent > silence:
            return f"no sign of life for {self.silent:.0f} s"
        if limit is not None and self.still > limit:
            return f"nothing has ended for {self.still:.0f} s in phase {self.beat['phase']!r}"
        if self.since_error > AFTER_ERROR:
            return f"still there {self.since_error:.0f} s after a rank has failed"
        return ""


class Notes:
    """What the watchdog writes and reads in the run folder, in a thread, for a disk may hang."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.has_failed = False
        self._beat: dict[str, Any] = {}
        self._fresh = threading.Event()
        threading.Thread(target=self._write_on, daemon=True).start()

    def write(self, beat: dict[str, Any]) -> None:
        """Have a beat written, unless a newer one comes first."""
        self._beat = beat
        self._fresh.set()

    def _write_on(self) -> None:
        while True:
            self._fresh.wait()
            self._fresh.clear()
            beat = self._beat
            try:
                write_json(
                    self.folder / FOLDER / f"rank-{beat['rank']}.json",
                    beat | {"time": time.time()},
                    is_synced=False,  # a second later there is a newer one
                )
            except OSError:
                continue  # a full disk: the pulse goes on
            self.has_failed = any(error.attempt == beat["attempt"] for error in errors_in(self.folder))


def watch(folder: Path) -> None:
    """Watch the process that started this one until it ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()
    rank_pid, watched, notes, rest = os.getppid(), Watch(), Notes(folder), b""
    last = time.monotonic()
    while True:
        if select.select([0], [], [], TURN)[0]:
            received = os.read(0, 1 << 16)
            if not received:
                return
            *lines, rest = (rest + received).split(b"\n")
            for line in lines:
                watched.receive(json.loads(line))
            if lines and watched.beat["is_open"]:
                notes.write(watched.beat)
        now = time.monotonic()
        watched.pass_time(min(now - last, 4 * TURN), has_failed=notes.has_failed)
        last = now
        if watched.verdict and os.getppid() == rank_pid:
            _end(rank_pid, folder, watched)
            return


def _end(pid: int, folder: Path, watched: Watch) -> None:
    """Write down what can be known of a rank, and kill it."""
    state = state_of(pid)
    words = (
        f"{watched.verdict}; the process is {WORDS_OF_STATE.get(state, 'there')} (state {state}), pid {pid}"
    )
    sys.stderr.write(
        f"audio-lm: rank {watched.beat['rank']}: {words}; its watchdog ends it, and torchrun may begin again\n"
    )
    sys.stderr.flush()
    if state not in "Tt" and watched.beat["is_open"]:
        os.kill(pid, TRACE_SIGNAL)
        time.sleep(FOR_TRACES)
    if watched.beat["is_open"] and not watched.since_error:
        _in_time(lambda: _write_down(folder, watched, words, is_stopped=state in "Tt"))
    os.kill(pid, signal.SIGKILL)


def _in_time(write: Callable[[], None]) -> None:
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(FOR_WRITING)


def _write_down(folder: Path, watched: Watch, words: str, *, is_stopped: bool) -> None:
    beat = watched.beat
    trace = folder / FOLDER / f"rank-{beat['rank']}.trace"
    error = RankError(
        rank=beat["rank"],
        kind=FROZEN,
        text=f"{words}{_others(folder, beat['rank'])}",
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


def _others(folder: Path, rank: int) -> str:
    """Where the other ranks are, as far as they say."""
    beats = beats_in(folder)
    said = [f"rank {one['rank']} in phase {one['phase']!r}" for one in beats if one["rank"] != rank]
    return "; " + ", ".join(said[:MOST_NAMED]) if said else ""


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
