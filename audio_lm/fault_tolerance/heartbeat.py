"""The pulse of a rank: what it does, how fast, and that it is alive; told to its watchdog once a second.

A thread tells it through a pipe, so no disk can hold it up; the watchdog, a process of
its own, writes ``heartbeats/rank-R.json``. What a phase may take follows from the steps
that were seen.
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
NUM_KEPT = 300  # steps whose seconds are remembered; of fewer, 99 % are not all
NUM_KNOWN = 5  # steps until their seconds say what a step takes
SMOOTH = 0.1  # weight of the newest step in the running mean
TRACE_SIGNAL = signal.SIGRTMIN + 5 if hasattr(signal, "SIGRTMIN") else signal.SIGUSR2


TOLD = ("rank", "pid", "host", "attempt", "stage", "step", "phase", "step_seconds", "busy_seconds", "time")


def beats_in(folder: Path) -> list[dict[str, Any]]:
    """The last pulse of every rank of a run, as far as it can be read."""
    beats = [read_table(path) for path in sorted((folder / FOLDER).glob("rank-*.json"))]
    return [beat for beat in beats if beat.keys() >= set(TOLD)]


class Heartbeat:
    """Tells the watchdog of this rank how it is.

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
        self._before: dict[str, Any] = {}
        self._seconds: deque[Seconds] = deque(maxlen=NUM_KEPT)
        self._is_open = False
        self._is_over = threading.Event()
        self._dog: subprocess.Popen[bytes] | None = None
        self._trace: IO[str] | None = None
        self._thread = threading.Thread(target=self._beat_on, name="audio_lm-heart", daemon=True)

    def start(self) -> None:
        """Begin to be watched."""
        self._send_for_dog()
        self._thread.start()

    def open(self, attempt: int) -> None:
        """From here on the run folder is there to be written into.

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
        """End being watched."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()  # it writes to what is closed here
        if self._trace is not None:
            faulthandler.unregister(TRACE_SIGNAL)
            self._trace.close()
        if self._dog is not None and self._dog.stdin is not None:
            self._dog.stdin.close()
            self._dog.wait()

    def begin_stage(self, name: str, *, step: int, steps: int) -> None:
        """Forget how long the steps of another stage took; an earlier start may have known it of this one."""
        self.stage, self.step, self.steps = name, step, steps
        self._seconds.clear()
        self.mean = self.busy = None
        if self._before.get("stage") == name and self._before.get("step_seconds_p99"):
            self._seconds.extend([self._before["step_seconds_p99"]] * NUM_KNOWN)

    def phase(self, name: str, limit: Seconds | None = None) -> None:
        """Say what begins now.

        Args:
            limit: after which it counts as hanging, unless it ticks; none for what may take hours.
        """
        self.phase_name, self.limit = name, limit
        self.ticks += 1

    @contextmanager
    def within(self, name: str, limit: Seconds | None = None, *, in_step: bool = True) -> Iterator[None]:
        """Something that interrupts another phase.

        Args:
            in_step: others may wait in a step for it to end.
        """
        before, began = (self.phase_name, self.limit), time.monotonic()
        self.phase(name, limit)
        yield
        self.longest_other = max(self.longest_other, time.monotonic() - began if in_step else 0.0)
        self.phase(*before)

    def tick(self) -> None:
        """A piece of this phase is done."""
        self.ticks += 1

    def record_step(self, seconds: Seconds, busy: Seconds) -> None:
        """Learn from a step how long one may take.

        Args:
            busy: what of it this rank did not spend waiting for others.
        """
        self._seconds.append(seconds)
        self.mean = seconds if self.mean is None else self.mean + SMOOTH * (seconds - self.mean)
        self.busy = busy if self.busy is None else self.busy + SMOOTH * (busy - self.busy)

    @property
    def p99(self) -> Seconds | None:
        """Seconds in which 99 % of the last steps ended; none before the first."""
        if not self._seconds:
            return None
        ordered = sorted(self._seconds)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]

    @property
    def silence(self) -> Seconds:
        """How long a rank may show no life."""
        return self.config.frozen_steps * (self.p99 or 0.0) + self.config.frozen_seconds

    @property
    def step_limit(self) -> Seconds:
        """How long a step may take."""
        is_known = len(self._seconds) >= NUM_KNOWN
        return self.silence if is_known else max(self.config.first_step_seconds, self.silence)

    @property
    def patience(self) -> Seconds:
        """How long ranks wait for each other: the watchdogs come first, and saving is waited for."""
        if len(self._seconds) < NUM_KNOWN:
            return self.config.first_step_seconds
        return min(self.config.first_step_seconds, 2 * self.silence + self.longest_other)

    def beat(self) -> dict[str, Any]:
        """What is told."""
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

    def _send_for_dog(self) -> None:
        command = [sys.executable, "-m", "audio_lm.fault_tolerance.watchdog", str(self.folder.absolute())]
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._dog = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": paths}
        )
        assert self._dog.stdin is not None, "it was asked for"
        os.set_blocking(self._dog.stdin.fileno(), False)

    def _beat_on(self) -> None:
        while not self._is_over.is_set():
            assert self._dog is not None, "started first"
            assert self._dog.stdin is not None, "it was asked for"
            try:
                os.write(self._dog.stdin.fileno(), json.dumps(self.beat()).encode() + b"\n")
            except BlockingIOError:
                pass  # it is slow; the next beat is as good
            except (BrokenPipeError, ValueError):
                if not self._is_over.is_set():
                    self._send_for_dog()
            self._is_over.wait(BEAT)
