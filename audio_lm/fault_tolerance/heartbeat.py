"""Heartbeat of a rank: phase, step and speed, sent to its watchdog once a second.

A thread sends it through a pipe, so a slow disk cannot delay it. The watchdog, a separate process,
writes ``heartbeats/rank-R.json``. Time limits of phases follow from the measured step times.
"""

import faulthandler
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from audio_lm.common.audio_units import Seconds
from audio_lm.common.files import read_table
from audio_lm.fault_tolerance.config import FaultToleranceConfig
from audio_lm.fault_tolerance.launcher_env import Launch

BEAT: Seconds = 1.0
FOLDER = "heartbeats"
NUM_KEPT = 300  # step times in memory; the 99th percentile of fewer than 100 is their maximum
NUM_KNOWN = 5  # steps before their times set the limits
SMOOTH = 0.1  # weight of the newest step in the running mean
TRACE_SIGNAL = signal.SIGRTMIN + 5 if hasattr(signal, "SIGRTMIN") else signal.SIGUSR2
FIELDS = ("rank", "pid", "host", "attempt", "stage", "step", "phase", "step_seconds", "busy_seconds", "time")


def beats_in(folder: Path) -> list[dict[str, Any]]:
    """Last heartbeat of every rank of a run; unreadable files are skipped."""
    beats = [read_table(path) for path in sorted((folder / FOLDER).glob("rank-*.json"))]
    return [beat for beat in beats if beat.keys() >= set(FIELDS)]


class Heartbeat:
    """Send the state of this rank to its watchdog.

    Args:
        folder: of the run; nothing is written there before ``open``.
    """

    def __init__(self, folder: Path, config: FaultToleranceConfig, *, rank: int, launch: Launch) -> None:
        self.folder = folder
        self.config = config
        self.rank = rank
        self.launch = launch
        self.stage: str | None = None
        self.step: int | None = None
        self.steps: int | None = None
        self.attempt = 0
        self.phase_name = "start"
        self.clip_ids: tuple[str, ...] = ()
        self.ticks = 0
        self.limit: Seconds | None = None
        self.mean: Seconds | None = None
        self.busy: Seconds | None = None
        self.longest_other: Seconds = 0.0
        self._seconds_of_phase: dict[str, Seconds] = {}
        self._phase_began = time.monotonic()
        self._before: dict[str, Any] = {}
        self._seconds: deque[Seconds] = deque(maxlen=NUM_KEPT)
        self._is_open = False
        self._is_over = threading.Event()
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._trace: IO[str] | None = None
        self._thread = threading.Thread(target=self._send_loop, name="audio_lm-heartbeat", daemon=True)

    def start(self) -> None:
        """Start the watchdog and the thread that sends to it."""
        self._start_watchdog()
        self._thread.start()

    def open(self, attempt: int) -> None:
        """Let the watchdog write into the run folder, which exists from now on.

        Args:
            attempt: the generation of this start.
        """
        self.attempt = attempt
        (self.folder / FOLDER).mkdir(parents=True, exist_ok=True)
        self._before = read_table(self.folder / FOLDER / f"rank-{self.rank}.json")
        self._trace = (self.folder / FOLDER / f"rank-{self.rank}.trace").open("w", encoding="utf-8")
        faulthandler.register(TRACE_SIGNAL, file=self._trace, all_threads=True)
        self._is_open = True

    def stop(self) -> None:
        """Stop the thread and the watchdog."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()  # it writes to the pipe that is closed below
        if self._trace is not None:
            faulthandler.unregister(TRACE_SIGNAL)
            self._trace.close()
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            self._watchdog.wait()

    def begin_stage(self, name: str, *, step: int, steps: int) -> None:
        """Start a stage; its step times are unknown unless an earlier start of the run measured them."""
        self.stage, self.step, self.steps = name, step, steps
        self._seconds.clear()
        self.mean = self.busy = None
        if self._before.get("stage") == name and self._before.get("step_seconds_p99"):
            self._seconds.extend([self._before["step_seconds_p99"]] * NUM_KNOWN)

    def phase(self, name: str, limit: Seconds | None = None) -> None:
        """Start a phase.

        Args:
            limit: longest time between two ticks before the rank counts as hanging; None for no limit.
        """
        self._seconds_of_phase = self.seconds_of_phase
        self._phase_began = time.monotonic()
        self.phase_name, self.limit = name, limit
        self.ticks += 1

    @property
    def seconds_of_phase(self) -> dict[str, Seconds]:
        """Time in each phase since the start, up to now."""
        own = self._seconds_of_phase.get(self.phase_name, 0.0) + time.monotonic() - self._phase_began
        return self._seconds_of_phase | {self.phase_name: own}

    @contextmanager
    def within(self, name: str, limit: Seconds | None = None, *, in_step: bool = True) -> Iterator[None]:
        """A phase that interrupts another one.

        Args:
            in_step: other ranks may wait for it within a step.
        """
        outer, start = (self.phase_name, self.limit), time.monotonic()
        self.phase(name, limit)
        yield
        self.longest_other = max(self.longest_other, time.monotonic() - start if in_step else 0.0)
        self.phase(*outer)

    def tick(self) -> None:
        """Report progress within the phase."""
        self.ticks += 1

    def record_step(self, seconds: Seconds, busy: Seconds) -> None:
        """Record the duration of a step.

        Args:
            busy: part of it that this rank did not spend waiting for other ranks.
        """
        self._seconds.append(seconds)
        self.mean = seconds if self.mean is None else self.mean + SMOOTH * (seconds - self.mean)
        self.busy = busy if self.busy is None else self.busy + SMOOTH * (busy - self.busy)

    @property
    def p99(self) -> Seconds | None:
        """99th percentile of the last step times; None before the first step."""
        if not self._seconds:
            return None
        ordered = sorted(self._seconds)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]

    @property
    def silence(self) -> Seconds:
        """Longest time without a heartbeat before the watchdog kills the rank."""
        return self.config.frozen_steps * (self.p99 or 0.0) + self.config.frozen_seconds

    @property
    def step_limit(self) -> Seconds:
        """Longest duration of a step before the watchdog kills the rank."""
        is_known = len(self._seconds) >= NUM_KNOWN
        return self.silence if is_known else max(self.config.first_step_seconds, self.silence)

    @property
    def patience(self) -> Seconds:
        """Timeout of collectives: long enough that watchdogs act first, and that ranks wait for one that saves."""
        if len(self._seconds) < NUM_KNOWN:
            return self.config.first_step_seconds
        return min(self.config.first_step_seconds, 2 * self.silence + self.longest_other)

    def beat(self) -> dict[str, Any]:
        """One heartbeat, as it is sent."""
        return {
            "rank": self.rank,
            "pid": os.getpid(),
            "host": platform.node(),
            "launch": self.launch.id,
            "attempt": self.attempt,
            "stage": self.stage,
            "step": self.step,
            "steps": self.steps,
            "phase": self.phase_name,
            "ticks": self.ticks,
            "limit": self.limit,
            "silence": self.silence,
            "step_seconds": self.mean,
            "busy_seconds": self.busy,
            "step_seconds_p99": self.p99,
            "is_open": self._is_open,
        }

    def _start_watchdog(self) -> None:
        command = [sys.executable, "-m", "audio_lm.fault_tolerance.watchdog", str(self.folder.absolute())]
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._watchdog = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": paths}
        )
        assert self._watchdog.stdin is not None, "stdin is a pipe"
        os.set_blocking(self._watchdog.stdin.fileno(), False)

    def _send_loop(self) -> None:
        while not self._is_over.is_set():
            assert self._watchdog is not None, "start() starts it before this thread"
            assert self._watchdog.stdin is not None, "stdin is a pipe"
            try:
                os.write(self._watchdog.stdin.fileno(), json.dumps(self.beat()).encode() + b"\n")
            except BlockingIOError:
                pass  # the pipe is full; the next heartbeat replaces this one
            except (BrokenPipeError, ValueError):
                if not self._is_over.is_set():
                    self._start_watchdog()
            self._is_over.wait(BEAT)
