"""Measure many audio files on all cores; imports neither Lhotse nor torch, so that processes start quickly."""

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
from audio_lm.common.protocols import Report
from audio_lm.data.audio import decode
from audio_lm.data.audio.decode import AudioMeasurement
from audio_lm.data.audio.errors import AudioError
from audio_lm.data.manifest.shar import open_source
from audio_lm.fault_tolerance.processes import die_with_parent

FEW_FILES = 500  # fewer files are measured in this process
CHUNK_SIZE = 16  # files per work item of a process
REPORT_EVERY: Seconds = 10.0


def measure_files(paths: Sequence[Path], report: Report) -> dict[Path, AudioMeasurement | str]:
    """Measure files, in several processes if there are many.

    Args:
        paths: of files; of audio in a tar, its byte range as a path.
        report: called with a line of progress every ten seconds.

    Returns:
        The measurement of each path, or the reason why the file cannot be used.

    Raises:
        UserError: a package that decodes some of them is not installed.
    """
    found = dict[Path, AudioMeasurement | str]()
    started = reported = time.monotonic()
    with _pool_map(len(paths)) as pool_map:
        for path, measured in zip(
            paths, pool_map(_measure, [str(path.absolute()) for path in paths]), strict=True
        ):
            found[path] = measured
            if time.monotonic() - reported > REPORT_EVERY:
                reported = time.monotonic()
                left = (reported - started) / len(found) * (len(paths) - len(found))
                time_left = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min"
                report(f"{len(found)} of {len(paths)} audio files measured, about {time_left} left")
    return found


def _measure(path: str) -> AudioMeasurement | str:
    try:
        return decode.measure(open_source(path), name=path, with_powers=True)
    except AudioError as error:
        return str(error).removeprefix(f"{path} ")


@contextmanager
def _pool_map(num_files: int) -> Iterator[Callable[..., Any]]:
    """Yield ``map`` for few files, ``ProcessPoolExecutor.map`` for many."""
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if num_files < FEW_FILES or num_cores == 1:
        yield map
        return
    pool = ProcessPoolExecutor(num_cores, mp_context=get_context("spawn"), initializer=_init_worker)
    try:
        yield partial(pool.map, chunksize=CHUNK_SIZE)
    finally:
        pool.shutdown(cancel_futures=True)


def _init_worker() -> None:
    """Ignore Ctrl-C in a worker and let it exit with its parent, which handles Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
