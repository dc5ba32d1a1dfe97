"""Size and modification time of audio files, to check that a resumed run reads the same audio.

An index stores them for its files at the time it was compiled; a run stores a digest when it starts and compares it
when it resumes. This also detects a file that was replaced by another of the same length.

Shapes: F files.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audio_lm.common.files import write_text
from audio_lm.data.manifest.shar import file_holding

NAMES, STATES = "audio.json", "audio.npy"
ABSENT = (-1, -1)
NUM_THREADS = 16  # a network file system serves several requests in parallel
CHUNK_SIZE = 1000  # files
States = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class AudioState:
    """Digest of the sizes and modification times of a source's audio files."""

    digest: str
    num_files: int
    changed: tuple[str, ...]
    """Files that have changed since the index was compiled."""


def write_states(folder: Path, names: Sequence[str]) -> None:
    """Store the current state of files in the folder of an index.

    Args:
        names: paths, or byte ranges of tar files.
    """
    paths = sorted({str(file_holding(name)) for name in names})
    write_text(folder / NAMES, json.dumps(paths))
    np.save(folder / STATES, states_of(paths))


def state_of(folder: Path) -> AudioState:
    """Current state of the files of an index.

    Args:
        folder: of the index.
    """
    paths: list[str] = json.loads((folder / NAMES).read_bytes())
    before, now = np.load(folder / STATES), states_of(paths)
    changed = (before != now).any(axis=1).nonzero()[0]
    digest = hashlib.sha256(now.tobytes()).hexdigest()[:16]
    return AudioState(digest, len(paths), tuple(paths[number] for number in changed))


def states_of(paths: Sequence[str]) -> States:
    """Size and modification time in nanoseconds of every file (F, 2)."""
    chunks = [paths[at : at + CHUNK_SIZE] for at in range(0, len(paths), CHUNK_SIZE)]
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        rows = [row for chunk in pool.map(_states_of_chunk, chunks) for row in chunk]
    return np.array(rows, dtype=np.int64).reshape(len(paths), 2)


def describe_changes(before: Mapping[str, str] | None, now: Mapping[str, AudioState]) -> str:
    """Message about the sources whose audio files have changed; empty if none has.

    Args:
        before: digests of the sources when the run started; a source without one was added since. None if unknown.
    """
    if before is None:
        return "audio files not compared"
    other = [source for source, state in now.items() if before.get(source, state.digest) != state.digest]
    return "; ".join(_message(source, now[source]) for source in other)


def _message(source: str, state: AudioState) -> str:
    named = f", such as {state.changed[0]}" if state.changed else ""
    return f"audio files of {source} were changed{named}"


def digests_of(states: Mapping[str, AudioState]) -> dict[str, str]:
    """Digest of each source, as checkpoints store it."""
    return {source: state.digest for source, state in states.items()}


def _states_of_chunk(paths: Iterable[str]) -> list[tuple[int, int]]:
    return [_state(path) for path in paths]


def _state(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ABSENT
    return found.st_size, found.st_mtime_ns
