"""Cache of measured audio files, so that an interrupted import does not measure them again.

A file of JSON lines, one for each audio file, to which lines are appended. A measurement counts if size and modification
time of its file are the same. A line that a killed process wrote in part is left out.
"""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any

from audio_lm.common.audio_units import Seconds
from audio_lm.data.audio.decode import AudioMeasurement

VERSION = 1  # incremented when the same file gives another measurement
FLUSH_EVERY: Seconds = 1.0

State = tuple[int, int]
"""Size in bytes, and modification time in nanoseconds."""


def cache_path(folder: Path, source: str) -> Path:
    """Path of the cache of a cut-set.

    Args:
        folder: of all caches and indexes, such as ``data/.index``.
        source: ``corpus/subset-split``.
    """
    return folder / f"{source}.lengths.{VERSION}.jsonl"


class LengthCache:
    """Measurements on disk; a batch of lines is written every second, so that short work leaves no file."""

    def __init__(self, path: Path) -> None:
        """Read the measurements of earlier imports."""
        self._path = path
        self._known: dict[str, tuple[State, list[Any]]] = dict(_read(path))
        self._lines: list[str] = []
        self._has_file = path.exists()
        self._flushed = time.monotonic()

    def find(self, name: str, state: State) -> AudioMeasurement | None:
        """Measurement of a file; None if it was not measured, or has changed since."""
        known = self._known.get(name)
        if known is None or known[0] != state:
            return None
        rate, num_samples, num_channels, is_counted, powers, mean_power = known[1]
        return AudioMeasurement(rate, num_samples, num_channels, is_counted, tuple(powers), mean_power)

    def add(self, name: str, state: State, measured: AudioMeasurement) -> None:
        """Keep a measurement.

        Raises:
            OSError: the file cannot be written.
        """
        self._lines.append(json.dumps([name, *state, *astuple(measured)]) + "\n")
        if time.monotonic() - self._flushed > FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Write what is not on disk yet.

        Raises:
            OSError: the file cannot be written.
        """
        self._has_file = True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            # Begin with a new line, because a killed process may have left a partial one.
            file.write(("\n" + "".join(self._lines)).encode())
        self._lines.clear()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write the rest, unless all the work was short.

        Raises:
            OSError: the file cannot be written.
        """
        if self._lines and self._has_file:
            self.flush()


def _read(path: Path) -> Iterator[tuple[str, tuple[State, list[Any]]]]:
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            with suppress(ValueError, TypeError):
                name, size, modified, *fields = json.loads(line)
                if len(fields) == len(AudioMeasurement.__dataclass_fields__):
                    yield name, ((size, modified), fields)
