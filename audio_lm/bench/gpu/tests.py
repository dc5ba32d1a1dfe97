"""The tests of the GPU path: those marked ``gpu``, and their halves that a CPU runs, marked ``gpu_counterpart``.

Only files with one of the markers are collected: importing all tests takes longer than running these.
"""

import re
import subprocess
import sys
from pathlib import Path

import audio_lm
from audio_lm.bench.gpu.parts import Task

ROOT = Path(audio_lm.__file__).parents[1]
MARKERS = "gpu", "gpu_counterpart"
MARKED = re.compile(rf"pytest\.mark\.({'|'.join(MARKERS)})\b")
OUTCOME = re.compile(r"^(\S+?::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b")
NO_TESTS = 5  # exit code of pytest


class FailedTests(Exception):  # noqa: N818
    """Some test did not pass; the figures name it."""


def run_tests(task: Task, folder: Path = ROOT / "tests") -> None:
    """Run the tests and hand over their outcomes one by one.

    Raises:
        FailedTests: one failed.
    """
    files = [path for path in sorted(folder.rglob("test_*.py")) if MARKED.search(path.read_text())]
    task.put(files=len(files), passed=0, skipped=0, failed=[])
    if not files:
        task.put(note=f"no test below {folder} has one of the markers {', '.join(MARKERS)}")
        return
    expression = " or ".join(MARKERS)
    options = ["-v", "--color=no", "--tb=short", "--durations=5", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", "-m", expression, *options, *map(str, files)]
    failed: list[str] = []
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout is not None, "it is a pipe"
        for line in run.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            found = OUTCOME.match(line)
            if found is None:
                continue
            if found[2] in ("FAILED", "ERROR"):
                failed.append(found[1])
                task.put(failed=failed)
            else:
                kind = "skipped" if found[2] == "SKIPPED" else "passed"
                task.put(**{kind: task.figures[kind] + 1})
    task.put(exit_code=run.returncode)
    if run.returncode not in (0, NO_TESTS):
        raise FailedTests(f"{len(failed)} tests failed; pytest ended with {run.returncode}")
