"""All parts of ``audio-lm bench gpu``, each in its own process with a time limit; results are written as they come.

A folder gets ``gpu.json``, ``gpu.md`` and ``gpu.log``. The files are complete after every figure, so a machine that is
taken away leaves what it has measured.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import torch

import audio_lm
from audio_lm.bench.gpu.parts import PARTS, Part, share_of
from audio_lm.bench.gpu.report import markdown
from audio_lm.common.audio_units import Seconds
from audio_lm.common.files import write_text
from audio_lm.common.protocols import Report

SHORTEST: Seconds = 5.0
"""Time below which a part is not started."""

WITHOUT_GPU: Seconds = 280.0
"""Time of the tests where there is no GPU."""

CHILD = "-m", "audio_lm.bench.gpu.child"
POLL: Seconds = 0.5
NO_GPU = "there is no CUDA device here, so nothing is measured; the halves of the GPU tests that a CPU runs are run instead"


@dataclass
class Outcome:
    """Result of one part."""

    name: str
    title: str
    status: str = "not started"
    """not started, running, done, failed, out of time or skipped."""

    why: str = ""
    seconds: Seconds = 0.0
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass
class Results:
    """Results of all parts, in files of a folder."""

    folder: Path
    minutes: float
    has_gpu: bool
    is_rehearsal: bool
    outcomes: list[Outcome]

    def write(self) -> None:
        """Replace the files."""
        content = {
            "minutes": self.minutes,
            "has_gpu": self.has_gpu,
            "is_rehearsal": self.is_rehearsal,
            "parts": [asdict(outcome) for outcome in self.outcomes],
        }
        write_text(self.folder / "gpu.json", json.dumps(content, indent=1) + "\n", is_synced=False)
        write_text(self.folder / "gpu.md", markdown(content), is_synced=False)

    @property
    def has_failures(self) -> bool:
        """True if a part ended with an error; one that ran out of time has figures."""
        return any(outcome.status == "failed" for outcome in self.outcomes)


def bench_gpu(folder: Path, *, minutes: float, is_rehearsal: bool, report: Report) -> Results:
    """Run the parts in order until the time is over.

    Args:
        folder: of the results.
        is_rehearsal: go through all parts with a tiny model on the CPU.
        report: receives a line for each part.
    """
    has_gpu = torch.cuda.is_available()
    folder.mkdir(parents=True, exist_ok=True)
    is_all = has_gpu or is_rehearsal
    parts = [part for part in PARTS if is_all or part.is_for_cpu]
    if not is_all:
        report(NO_GPU)
    seconds = 60 * minutes if is_all else min(60 * minutes, WITHOUT_GPU)
    end = time.monotonic() + seconds
    outcomes = [Outcome(part.name, part.title) for part in parts]
    results = Results(folder, minutes, has_gpu, is_rehearsal, outcomes)
    results.write()
    with (folder / "gpu.log").open("w") as log:
        for part, outcome in zip(parts, outcomes, strict=True):
            _run(part, outcome, share_of(part, parts, end - time.monotonic()), results, log)
            report(
                f"{outcome.title}: {outcome.status}, {outcome.seconds:.0f} s{outcome.why and f' ({outcome.why})'}"
            )
    return results


def _run(part: Part, outcome: Outcome, limit: Seconds, results: Results, log: IO[str]) -> None:
    """Run a part and follow its figures."""
    if missing := part.missing():
        outcome.status, outcome.why = "skipped", f"packages are missing: {', '.join(missing)}"
    elif limit < SHORTEST:
        outcome.why = "no time was left"
    else:
        outcome.status = "running"
        log.write(f"== {part.name}\n")
        log.flush()
        with tempfile.TemporaryDirectory() as folder:
            _follow(
                _start(part, Path(folder) / "figures", limit, results, log),
                Path(folder) / "figures",
                outcome,
                limit,
                results,
            )
    results.write()


def _start(
    part: Part, file: Path, limit: Seconds, results: Results, log: IO[str]
) -> "subprocess.Popen[bytes]":
    flags = [*["--rehearse"] * results.is_rehearsal, *["--gpu"] * results.has_gpu]
    command = [sys.executable, *CHILD, part.name, str(file), str(limit), *flags]
    paths = [str(Path(audio_lm.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
    )


def _follow(
    process: "subprocess.Popen[bytes]", file: Path, outcome: Outcome, limit: Seconds, results: Results
) -> None:
    """Copy figures into the results until the process or its time ends; a part that is over its time is killed."""
    start = time.monotonic()
    try:
        while process.poll() is None and time.monotonic() - start < limit:
            time.sleep(POLL)
            outcome.seconds = time.monotonic() - start
            if (figures := _figures(file)) != outcome.figures:
                outcome.figures = figures
                results.write()
    finally:
        is_over = process.poll() is None
        if is_over:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    outcome.seconds, outcome.figures = time.monotonic() - start, _figures(file)
    if is_over:
        outcome.status, outcome.why = "out of time", f"after {limit:.0f} s"
    elif process.returncode:
        outcome.status, outcome.why = "failed", f"exit code {process.returncode}; see gpu.log"
    else:
        outcome.status = "done"


def _figures(file: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return figures
