"""Measure many audio files on all cores; imports neither Lhotse nor torch, so that processes start quickly."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from audio_lm.common.errors import UserError
from audio_lm.common.progress import progress
from audio_lm.data.audio import decode
from audio_lm.data.audio.decode import AudioMeasurement
from audio_lm.data.audio.errors import AudioError
from audio_lm.data.audio.fingerprints import states_of
from audio_lm.data.audio.length_cache import LengthCache
from audio_lm.data.manifest.shar import file_holding, open_source
from audio_lm.fault_tolerance.processes import die_with_parent

FEW_FILES = 500  # fewer files are measured in this process
CHUNK_SIZE = 16  # files per work item of a process; fewer files show no progress


def measure_files(paths: Sequence[Path], *, cache: Path | None = None) -> dict[Path, AudioMeasurement | str]:
    """Measure files, in several processes if there are many.

    Args:
        paths: of files, or byte ranges of tars as text; each once.
        cache: file with the measurements of earlier calls, which are not repeated; extended while files are measured.

    Returns:
        The measurement of each path, or the reason why the file cannot be used.

    Raises:
        UserError: a package that decodes some of them is not installed, or a process was killed.
        OSError: the cache cannot be read or written.
    """
    if cache is None:
        return dict(zip(paths, _measure_all(_names(paths)), strict=True))
    kept, names = LengthCache(cache), _names(paths)
    states = [
        (int(size), int(modified))
        for size, modified in states_of([str(file_holding(name)) for name in names])
    ]
    found: list[AudioMeasurement | str | None] = [*map(kept.find, names, states)]
    missing = [place for place, measured in enumerate(found) if measured is None]
    for place, measured in zip(missing, _measure_all([names[place] for place in missing]), strict=True):
        found[place] = measured
        if isinstance(measured, AudioMeasurement):
            kept.add(names[place], states[place], measured)
    kept.close()
    return {path: measured for path, measured in zip(paths, found, strict=True) if measured is not None}


def _names(paths: Sequence[Path]) -> list[str]:
    return [str(path.absolute()) for path in paths]


def _measure_all(names: Sequence[str]) -> Iterator[AudioMeasurement | str]:
    """Measure files in order, and show the progress."""
    num_done = 0
    show = progress("measuring audio", total=len(names), what="files", min_total=CHUNK_SIZE)
    try:
        with show as advance, _pool_map(len(names)) as pool_map:
            for measured in pool_map(_measure, names):
                yield measured
                num_done += 1
                if num_done % CHUNK_SIZE == 0:
                    advance(CHUNK_SIZE)
    except BrokenProcessPool as error:
        raise UserError(
            f"a process that measures audio was killed after {num_done} of {len(names)} files, for lack of memory or "
            f"by a file that crashes its decoder; repeat the import, which does not measure these again"
        ) from error


def _measure(name: str) -> AudioMeasurement | str:
    try:
        return decode.measure(open_source(name), name=name, with_powers=True)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except AudioError as error:
        return str(error).removeprefix(f"{name} ")


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
