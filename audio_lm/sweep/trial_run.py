"""Run of a trial: ``audio-lm train`` as a child process, in the folder ``trials/<name>`` of the sweep.

It is an ordinary run: with several devices it becomes torchrun by itself, and with several nodes it is a step of the SLURM
job that the worker runs in. It starts with ``resume=auto``, so a run that was killed continues from its last checkpoint.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from audio_lm.common.audio_units import Seconds
from audio_lm.common.cpu import num_cores
from audio_lm.fault_tolerance.exit_status import (
    FAULT,
    FINISHED,
    INTERRUPTED,
    STOPPED_BY_SIGNAL,
    ExitReason,
    read_exit_reason,
)
from audio_lm.fault_tolerance.restarts import errors_in
from audio_lm.sweep.facts import SweepFacts
from audio_lm.sweep.trial import Trial

USER_ERROR = 2
CHILD = "audio_lm.sweep.child"
STOP_PATIENCE: Seconds = 240.0
"""Time to save a checkpoint after a stop signal; then the process is killed."""

LAST_LINES = 20
LIGHTNING_SLURM = "SLURM_NTASKS"
"""Variable of a SLURM job by which Lightning finds its ranks; a trial that is no step of the job must not have it."""

Outcome = Literal["finished", "fault", "refused", "stopped"]


@dataclass(frozen=True)
class TrialEnd:
    """End of one start of a trial's run."""

    outcome: Outcome
    """``refused``: a mistake in the input, which another start would repeat."""

    reason: str = ""


class TrialRun(Protocol):
    """One start of a trial's run."""

    def start(self) -> None:
        """Start the process."""

    def poll(self) -> TrialEnd | None:
        """End of the run; None while it goes on."""

    def stop(self) -> None:
        """Ask the run to save a checkpoint and to end."""

    def kill(self) -> None:
        """Kill the run and wait for the end of its process."""


class TrialStarter(Protocol):
    """Maker of the runs of trials."""

    def __call__(self, trial: Trial, folder: Path, /) -> TrialRun:
        """Prepare a start of a trial's run in a folder."""


@dataclass(frozen=True)
class TrialSettings:
    """Settings with which a worker starts runs."""

    facts: SweepFacts
    num_workers: int = 1
    """Workers that share the cores of this machine."""

    prefix: tuple[str, ...] = ()
    """Command in front of ``audio-lm``, such as ``srun torchrun ...``; empty for this machine alone."""

    nodes: int | None = None
    """Number of nodes of a trial, instead of the recipe's."""

    def __call__(self, trial: Trial, folder: Path) -> "ChildRun":
        """Prepare a start of a trial's run."""
        program = [*self.prefix, "audio-lm"] if self.prefix else [sys.executable, "-m", "audio_lm.cli.main"]
        command = [*program, *train_arguments(self.facts, trial, folder, nodes=self.nodes)]
        environment = _environment(self.num_workers)
        if not self.prefix:
            environment.pop(LIGHTNING_SLURM, None)
        return ChildRun(command, folder, self.facts.folder or None, environment)


def train_arguments(facts: SweepFacts, trial: Trial, folder: Path, *, nodes: int | None = None) -> list[str]:
    """Arguments of ``audio-lm`` that train a trial."""
    overrides = [
        *trial.overrides,
        f"name={facts.name}-{trial.name}",
        f"tracking.experiment={facts.name}",
        f"tracking.params={json.dumps(tracked_params(trial))}",
        *([f"hardware.nodes={nodes}"] if nodes else []),
        "resume=auto",
    ]
    flags = ["--trust-code"] if facts.trusts_code else []
    return ["train", facts.recipe, *overrides, f"--out={folder}", *flags]


def tracked_params(trial: Trial) -> dict[str, str]:
    """Parameters of a trial's run in MLflow, besides those of every run."""
    shares = {f"share/{task}": f"{share:.4g}" for task, share in trial.shares.items()}
    return {"trial": trial.name, "purpose": trial.purpose, **shares}


class ChildRun:
    """Run of a trial as a child process, which dies with this one.

    Args:
        command: to run.
        folder: of the run; its output is appended to a file beside it.
        working_folder: of the process; None for that of this one.
        environment: of the process.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, working_folder: str | None, environment: dict[str, str]
    ) -> None:
        self.command = [*command]
        self.folder = folder
        self.log = folder.with_suffix(".log")
        self.working_folder = working_folder
        self.environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped_at: float | None = None
        self._before = read_exit_reason(folder)
        self._began = time.time()

    def start(self) -> None:
        """Start the process, in a session of its own: Ctrl-C reaches the worker alone, which stops it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", CHILD, str(os.getpid()), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.working_folder,
                env=self.environment,
                start_new_session=True,
            )

    def poll(self) -> TrialEnd | None:
        """End of the run; None while it goes on. A run that does not stop in time is killed."""
        assert self._process is not None, "start() comes first"
        code = self._process.poll()
        if code is None:
            if self._stopped_at is not None and time.monotonic() - self._stopped_at > STOP_PATIENCE:
                self.kill()
            return None
        if code == FINISHED:
            return TrialEnd("finished")
        # torchrun on several nodes exits with 1 whatever code its ranks had.
        written = self._written_reason()
        code = written.code if written is not None and code == FAULT else code
        if self._stopped_at is not None or code in (STOPPED_BY_SIGNAL, INTERRUPTED):
            return TrialEnd("stopped", self._reason(code))
        return TrialEnd("refused" if code == USER_ERROR else "fault", self._reason(code))

    def _written_reason(self) -> ExitReason | None:
        """Exit reason that this start of the run has written."""
        reason = read_exit_reason(self.folder)
        return None if reason == self._before else reason

    def stop(self) -> None:
        """Ask the run to save a checkpoint and to end."""
        if self._process is not None and self._process.poll() is None and self._stopped_at is None:
            self._stopped_at = time.monotonic()
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process group of the run; ranks of torchrun die with their agent."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _reason(self, code: int) -> str:
        """Reason of an end in one sentence: what the run wrote, else the last message in its log, else the code."""
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        errors = [error for error in errors_in(self.folder) if error.time >= self._began]
        if (reason := self._written_reason()) is not None:
            return reason.sentence
        if code != USER_ERROR and errors:
            return errors[-1].sentence
        with self.log.open(encoding="utf-8", errors="replace") as log:
            lines = [line.strip() for line in deque(log, LAST_LINES) if line.strip()]
        messages = [line for line in lines if line.startswith("audio-lm: ")] or lines[-1:]
        return messages[-1].removeprefix("audio-lm: ") if messages else f"exit code {code}, see {self.log}"


def _environment(num_workers: int) -> dict[str, str]:
    """Environment of a child: the package importable, the cores divided among the workers of this machine."""
    package = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    threads = {"OMP_NUM_THREADS": str(max(1, num_cores() // num_workers))} if num_workers > 1 else {}
    return {**threads, **os.environ, "PYTHONPATH": paths}
