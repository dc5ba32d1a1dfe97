"""Read single cuts of an index lazily.

A row is read at its byte offset in the manifest, so that no process has a whole manifest in memory.
"""

import os
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from lhotse.cut import Cut
from lhotse.utils import fastcopy

from audio_lm.common.audio_units import MAX_SECONDS, SAMPLES_PER_SECOND
from audio_lm.common.errors import DataError
from audio_lm.data.manifest.cuts import resample_further_clips, resample_to_16_khz
from audio_lm.data.manifest.index import SourceIndex
from audio_lm.data.manifest.json_lines import MAX_LINE_BYTES, InvalidLineError, parse_line
from audio_lm.data.manifest.lhotse_cut import CutFacts, read_cut
from audio_lm.data.mixture.interleave import Integers

BLOCK_BYTES = 8192  # per read; most lines are shorter


class Rows:
    """Cuts of a source, by row number.

    Args:
        kept: subset of the rows of the index; None for all.
    """

    def __init__(self, index: SourceIndex, kept: Integers | None = None) -> None:
        self.index = index
        self.kept = kept
        self._manifest: IO[bytes] | None = None
        self._roots = [Path(root) for root in index.roots]

    def __len__(self) -> int:
        return len(self.index) if self.kept is None else len(self.kept)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_manifest": None}  # a worker opens the file itself

    @property
    def num_samples(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Number of samples of all clips of every row."""
        return self.index.num_samples if self.kept is None else self.index.num_samples[self.kept]

    def start(self, row: int) -> int:
        """Start of a row in its cut, in samples; not zero for the later chunks of a long clip."""
        return self.index.start.item(self._index_row(row))

    def _index_row(self, row: int) -> int:
        return row if self.kept is None else int(self.kept[row])

    def cut(self, row: int) -> Cut:
        """Cut of a row, at 16 kHz; a long clip is truncated or chunked.

        Raises:
            DataError: the line has changed since the index was compiled, and is invalid.
        """
        offset = int(self.index.offset[self._index_row(row)])
        try:
            cut = read_cut(self._line(offset), roots=self._roots)
        except (InvalidLineError, OSError) as error:
            raise DataError(
                f"{self.index.manifest}: the cut at byte {offset} can no longer be read ({error}); "
                f"restore the manifest, or start again to compile it again"
            ) from error
        return self._chunk(resample_to_16_khz(cut), row)

    def facts(self, row: int) -> Cut | CutFacts:
        """Fields of a row that determine its labels and the lengths of its clips; for a long clip the cut itself.

        Raises:
            InvalidLineError: the line has changed. A changed line may raise other errors as well; ``cut`` reports it
                properly.
        """
        table = parse_line(self._line(self.index.offset.item(self._index_row(row))))
        if table["duration"] > MAX_SECONDS and table.get("recording") is not None:
            return self.cut(row)
        facts = CutFacts(table)
        if facts.has_recording and facts.custom:
            facts.custom |= resample_further_clips(facts)
        return facts

    def _line(self, offset: int) -> bytes:
        """Read a line; with pread, because a memory-mapped file that was truncated would kill the process (SIGBUS)."""
        if self._manifest is None:
            self._manifest = self.index.manifest.open("rb", buffering=0)
        parts = list[bytes]()
        while len(parts) <= MAX_LINE_BYTES // BLOCK_BYTES:
            parts.append(os.pread(self._manifest.fileno(), BLOCK_BYTES, offset + len(parts) * BLOCK_BYTES))
            end = parts[-1].find(b"\n")
            if end >= 0 or len(parts[-1]) < BLOCK_BYTES:
                parts[-1] = parts[-1] if end < 0 else parts[-1][:end]
                break
        return b"".join(parts)

    def _chunk(self, cut: Cut, row: int) -> Cut:
        """Truncate a cut over 30 s to the chunk of a row."""
        if cut.duration <= MAX_SECONDS or not cut.has_recording:
            return cut
        start = self.start(row) / SAMPLES_PER_SECOND
        chunk = cut.truncate(offset=start, duration=min(MAX_SECONDS, cut.duration - start), preserve_id=True)
        if start == 0:
            return chunk
        # A chunk has the labels of the whole clip; token_lengths refuses tasks for which they are not valid.
        supervisions = [
            fastcopy(supervision, start=0.0, duration=chunk.duration, alignment=None)
            for supervision in cut.supervisions
        ]
        return fastcopy(chunk, id=f"{cut.id}@{start:.0f}", supervisions=supervisions)


class LoadedSource(NamedTuple):
    """Source of a task, with its rows."""

    task: str
    source: str
    rows: Rows
    all_rows: int | None = None
    """Number of rows before ``max_rows`` of the mixture; None if it is not limited."""
