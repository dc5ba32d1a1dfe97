"""Log-probabilities of pairs under the reference, which are computed once: a table by row, and its files.

A file holds the pairs of a chunk of rows of one source. The chunks depend on the rows only, so that a computation that
was killed continues with the same chunks, and therefore with the same values.

Shapes: P pairs.
"""

import hashlib
import io
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audio_lm.common.files import write_bytes
from audio_lm.data.mixture.interleave import Integers

CHUNK_ROWS = 256
MISSING = (math.inf, math.inf)
UNREADABLE = (math.nan, math.nan)  # the audio was bad when the pair was computed
Values = np.ndarray[Any, np.dtype[np.float64]]


def validation_name(task: str) -> str:
    """Name of the validation pairs of a task in a table."""
    return f"validation {task}"


class PairCodes(NamedTuple):
    """Pairs of a source whose log-probabilities are needed."""

    rows: Integers
    choices: Integers
    """Paraphrases of their questions."""

    num_choices: int = 1

    @property
    def codes(self) -> Integers:
        """One number for each pair."""
        return self.rows * self.num_choices + self.choices


class Chunk(NamedTuple):
    """Pairs that are computed and written together."""

    name: str
    """Of the source."""

    num_choices: int
    codes: Integers

    def path(self, folder: Path) -> Path:
        """File of the chunk."""
        first = int(self.codes[0]) // (CHUNK_ROWS * self.num_choices)
        return folder / f"{hashlib.sha256(self.name.encode()).hexdigest()[:12]}-{first:06d}.npz"

    def read(self, folder: Path) -> Values | None:
        """Log-probabilities (P, 2); None if they are not there, damaged, or of other pairs."""
        try:
            with np.load(self.path(folder), allow_pickle=False) as arrays:
                codes, values = arrays["codes"], arrays["values"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        if not np.array_equal(codes, self.codes) or values.shape != (len(codes), 2):
            return None
        return np.asarray(values, dtype=np.float64)

    def write(self, folder: Path, values: Values) -> None:
        """Write the log-probabilities (P, 2), atomically."""
        file = io.BytesIO()
        np.savez(file, codes=self.codes, values=values)
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path(folder), file.getvalue())


def chunks_of(name: str, pairs: PairCodes) -> Iterator[Chunk]:
    """Divide the pairs of a source into chunks of ``CHUNK_ROWS`` rows, each pair once."""
    codes = np.unique(pairs.codes)
    of_chunk = codes // (CHUNK_ROWS * pairs.num_choices)
    for number in np.unique(of_chunk):
        yield Chunk(name, pairs.num_choices, codes[of_chunk == number])


class ReferenceTable:
    """Log-probabilities of both answers of pairs, by source, row and paraphrase."""

    def __init__(self, chunks: Sequence[Chunk], values: Sequence[Values]) -> None:
        """Join chunks.

        Args:
            values: (P, 2) of each chunk.
        """
        joined: dict[str, list[tuple[Chunk, Values]]] = {}
        for chunk, of_chunk in zip(chunks, values, strict=True):
            joined.setdefault(chunk.name, []).append((chunk, of_chunk))
        self._tables: Mapping[str, tuple[int, Integers, Values]] = {
            name: (
                parts[0][0].num_choices,
                np.concatenate([chunk.codes for chunk, _ in parts]),
                np.concatenate([of_chunk for _, of_chunk in parts]),
            )
            for name, parts in joined.items()
        }

    def of(self, name: str, row: int, choice: int = 0) -> tuple[float, float]:
        """Log-probabilities of the chosen and of the rejected answer; ``MISSING`` if the pair is not in the table.

        That is the case for steps after the last one, which the data loader prefetches.
        """
        if name in self._tables:
            num_choices, codes, values = self._tables[name]
            code = row * num_choices + choice
            number = int(np.searchsorted(codes, code))
            if number < len(codes) and codes[number] == code:
                chosen, rejected = values[number].tolist()
                return chosen, rejected
        return MISSING
