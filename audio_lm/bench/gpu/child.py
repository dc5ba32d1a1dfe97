"""Process of one part: ``python -m audio_lm.bench.gpu.child PART FILE SECONDS [--rehearse] [--gpu]``."""

import sys
from functools import partial
from pathlib import Path
from typing import Protocol

from audio_lm.bench.gpu.parts import STEP_PARTS, Task


class Measure(Protocol):
    """Work of a part."""

    def __call__(self, task: Task, /) -> None:
        """Hand over its figures with ``task.put``."""


def measure_of(name: str) -> Measure:
    """Work of a part; its modules are imported here, as other parts may lack what they need."""
    if name == "machine":
        from audio_lm.bench.gpu.machine import measure_machine

        return measure_machine
    if name == "tests":
        from audio_lm.bench.gpu.tests import run_tests

        return run_tests
    if name in STEP_PARTS:
        from audio_lm.bench.gpu.steps import measure_step

        return partial(measure_step, stage=name)
    if name == "loader":
        from audio_lm.bench.gpu.loading import measure_loading

        return measure_loading
    from audio_lm.bench.gpu.demo import run_demo

    return run_demo


def main(arguments: list[str]) -> None:
    """Do one part."""
    name, file, seconds, *flags = arguments
    task = Task(Path(file), float(seconds), is_rehearsal="--rehearse" in flags, has_gpu="--gpu" in flags)
    measure_of(name)(task)


if __name__ == "__main__":
    main(sys.argv[1:])
