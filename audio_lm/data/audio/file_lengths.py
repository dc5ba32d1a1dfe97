"""Many audio files measured, on all cores; without Lhotse and torch, so that a process starts at once."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from audio_lm.common.audio_units import Seconds
from audio_lm.data.audio import decode
from audio_lm.data.audio.decode import AudioMeasurement
from audio_lm.data.audio.errors import AudioError
from audio_lm.fault_tolerance.processes import die_with_parent

FEW_FILES = 500  # are measured in this process
AT_ONCE = 16  # files that a process is given
REPORT_EVERY: Seconds = 10.0


def measure_files(paths: Sequence[Path], report: Callable[[str], None]) -> dict[Path, AudioMeasurement | str]:
    """Measure many files, on all cores where they are many.

    Args:
        report: takes a line every ten seconds.

    Returns:
        Of every path what is known of it, or why it cannot be used.

    Raises:
        UserError: a package that decodes some of them is not installed.
    """
    found = dict[Path, AudioMeasurement | str]()
    began = reported = time.monotonic()
    with _processes(len(paths)) as each:
        for path, measured in zip(
            paths, each(_measured, [str(path.absolute()) for path in paths]), strict=True
        ):
            found[path] = measured
            if time.monotonic() - reported > REPORT_EVERY:
                reported = time.monotonic()
                left = (reported - began) / len(found) * (len(paths) - len(found))
                time_left = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min"
                report(f"{len(found)} of {len(paths)} audio files measured, about {time_left} left")
    return found


def _measured(path: str) -> AudioMeasurement | str:
    try:
        return decode.measure(path, with_powers=True)
    except AudioError as error:
        return str(error).removeprefix(f"{path} ")


@contextmanager
def _processes(num_files: int) -> Iterator[Callable[..., Any]]:
    """A ``map`` that shares its work out, over processes where there is much."""
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if num_files < FEW_FILES or num_cores == 1:
        yield map
        return
    pool = ProcessPoolExecutor(num_cores, mp_context=get_context("spawn"), initializer=_start)
    try:
        yield partial(pool.map, chunksize=AT_ONCE)
    finally:
        pool.shutdown(cancel_futures=True)


def _start() -> None:
    """What a measuring process does first: its parent hears Ctrl-C, and takes it along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
