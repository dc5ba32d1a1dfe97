"""The tests of the GPU path: those marked ``gpu``, and their halves that a CPU runs, marked ``gpu_counterpart``.

Only files with one of the markers are collected: importing all tests takes longer than running these.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import audio_lm
from audio_lm.bench.gpu.parts import Task

ROOT = Path(audio_lm.__file__).parents[1]
MARKERS = "gpu", "gpu_counterpart"
MARKED = re.compile(rf"pytest\.mark\.({'|'.join(MARKERS)})\b")
OUTCOME = re.compile(r"^(\S+?::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b")
UNUSABLE, NO_TESTS = 4, 5  # exit codes of pytest


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
    code = _run(files, task)
    if code == UNUSABLE:
        # A fixture file that cannot be imported ends pytest before any test; those of the other folders still run.
        folders = sorted({path.parent for path in files})
        codes = {folder: _run([path for path in files if path.parent == folder], task) for folder in folders}
        task.put(not_run=[str(each) for each, code in codes.items() if code == UNUSABLE])
        code = next((code for code in codes.values() if code not in (0, NO_TESTS, UNUSABLE)), 0)
    task.put(exit_code=code)
    if code not in (0, NO_TESTS):
        raise FailedTests(f"{len(task.figures['failed'])} tests failed; pytest ended with {code}")


def _run(files: Sequence[Path], task: Task) -> int:
    """Exit code of pytest; outcomes are added to the figures."""
    options = ["-v", "--color=no", "--tb=short", "--durations=5", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", "-m", " or ".join(MARKERS), *options, *map(str, files)]
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
                task.put(failed=[*task.figures["failed"], found[1]])
            else:
                kind = "skipped" if found[2] == "SKIPPED" else "passed"
                task.put(**{kind: task.figures[kind] + 1})
    return run.returncode
