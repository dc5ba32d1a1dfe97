"""Size and time of change of audio files, so that "exact" is known and not assumed.

An index keeps what its files were like when it was compiled; a run keeps a digest of what they were like
when it began, and compares. A file that was replaced by another of the same length is noticed too.

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
from audio_lm.data.manifest.shar import Stretch

NAMES, STATES = "audio.json", "audio.npy"
ABSENT = (-1, -1)
NUM_THREADS = 16  # a network disk answers many at once
FILES_AT_ONCE = 1000
States = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class AudioState:
    """What the audio files of a source are like."""

    digest: str
    num_files: int
    changed: tuple[str, ...]
    """Files that are not as they were when the index was compiled."""


def write_states(folder: Path, names: Sequence[str]) -> None:
    """Keep what files are like now, beside an index.

    Args:
        names: of files, or stretches of tars.
    """
    paths = sorted({_path_of(name) for name in names})
    write_text(folder / NAMES, json.dumps(paths))
    np.save(folder / STATES, states_of(paths))


def state_of(folder: Path) -> AudioState:
    """What the files of an index are like now.

    Args:
        folder: of the index.
    """
    paths: list[str] = json.loads((folder / NAMES).read_bytes())
    before, now = np.load(folder / STATES), states_of(paths)
    changed = (before != now).any(axis=1).nonzero()[0]
    digest = hashlib.sha256(now.tobytes()).hexdigest()[:16]
    return AudioState(digest, len(paths), tuple(paths[number] for number in changed))


def states_of(paths: Sequence[str]) -> States:
    """Size and time of change in nanoseconds of every file (F, 2)."""
    pieces = [paths[at : at + FILES_AT_ONCE] for at in range(0, len(paths), FILES_AT_ONCE)]
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        rows = [row for piece in pool.map(_some_states, pieces) for row in piece]
    return np.array(rows, dtype=np.int64).reshape(len(paths), 2)


def describe_changes(before: Mapping[str, str] | None, now: Mapping[str, AudioState]) -> str:
    """What differs from a digest of every source; empty when nothing does.

    Args:
        before: of the sources that were trained on; others were added since. None where it is not known.
    """
    if before is None:
        return "audio files not compared"
    other = [source for source, state in now.items() if before.get(source, state.digest) != state.digest]
    return "; ".join(_worded(source, now[source]) for source in other)


def _worded(source: str, state: AudioState) -> str:
    named = f", such as {state.changed[0]}" if state.changed else ""
    return f"audio files of {source} were changed{named}"


def digests_of(states: Mapping[str, AudioState]) -> dict[str, str]:
    """As a checkpoint keeps them."""
    return {source: state.digest for source, state in states.items()}


def _path_of(name: str) -> str:
    stretch = Stretch.of(name)
    return name if stretch is None else str(stretch.tar)


def _some_states(paths: Iterable[str]) -> list[tuple[int, int]]:
    return [_state(path) for path in paths]


def _state(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ABSENT
    return found.st_size, found.st_mtime_ns
