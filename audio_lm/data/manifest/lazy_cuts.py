"""Rows of an index become cuts again, and are measured once in tokens.

A row is read where it stands in its manifest, so that a process holds no
manifest in memory, whatever its length.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from lhotse.cut import Cut
from lhotse.utils import fastcopy

from audio_lm.common.audio_units import MAX_SECONDS, SAMPLES_PER_SECOND
from audio_lm.common.errors import DataError
from audio_lm.data.cache import cached_table
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.lengths import folder_lock, token_lengths
from audio_lm.data.manifest.cuts import resample_further_clips, resample_to_16_khz
from audio_lm.data.manifest.index import SourceIndex
from audio_lm.data.manifest.json_lines import MAX_LINE_BYTES, InvalidLineError, parse_line
from audio_lm.data.manifest.lhotse_cut import CutFacts, read_cut
from audio_lm.data.mixture.interleave import Integers

PIECE = 8192  # bytes that are read at once; most lines are shorter
VERSION = 2  # raised whenever the same row has another number of tokens


class Rows:
    """The cuts of a source, by their number.

    Args:
        kept: rows of the index, where not all of them are heard.
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
        """Of all clips of every row."""
        return self.index.num_samples if self.kept is None else self.index.num_samples[self.kept]

    def start(self, row: int) -> int:
        """Samples into the cut at which a row begins."""
        return self.index.start.item(self._place(row))

    def _place(self, row: int) -> int:
        return row if self.kept is None else int(self.kept[row])

    def cut(self, row: int) -> Cut:
        """The cut of a row, at 16 kHz and no longer than its rule allows.

        Raises:
            DataError: the line is not what it was when the index was compiled.
        """
        offset = int(self.index.offset[self._place(row)])
        try:
            cut = read_cut(self._line(offset), roots=self._roots)
        except (InvalidLineError, OSError) as error:
            raise DataError(
                f"{self.index.manifest}: the cut at byte {offset} cannot be read any more ({error}); "
                f"put the manifest back, or start again to have it compiled anew"
            ) from error
        return self._piece(resample_to_16_khz(cut), row)

    def facts(self, row: int) -> Cut | CutFacts:
        """What the labels and the lengths of the clips of a row follow from; of a long clip the cut itself.

        Raises:
            InvalidLineError: the line is not what it was; other errors may come of it as well, and ``cut`` says so.
        """
        table = parse_line(self._line(self.index.offset.item(self._place(row))))
        if table["duration"] > MAX_SECONDS and table.get("recording") is not None:
            return self.cut(row)
        facts = CutFacts(table)
        if facts.has_recording and facts.custom:
            facts.custom |= resample_further_clips(facts)
        return facts

    def _line(self, offset: int) -> bytes:
        """Read, not mapped: a file that has become shorter would end the process."""
        if self._manifest is None:
            self._manifest = self.index.manifest.open("rb", buffering=0)
        parts = list[bytes]()
        while len(parts) <= MAX_LINE_BYTES // PIECE:
            parts.append(os.pread(self._manifest.fileno(), PIECE, offset + len(parts) * PIECE))
            end = parts[-1].find(b"\n")
            if end >= 0 or len(parts[-1]) < PIECE:
                parts[-1] = parts[-1] if end < 0 else parts[-1][:end]
                break
        return b"".join(parts)

    def _piece(self, cut: Cut, row: int) -> Cut:
        """What is heard of a cut over 30 s."""
        if cut.duration <= MAX_SECONDS or not cut.has_recording:
            return cut
        start = self.start(row) / SAMPLES_PER_SECOND
        piece = cut.truncate(offset=start, duration=min(MAX_SECONDS, cut.duration - start), preserve_id=True)
        if start == 0:
            return piece
        # What is known of the whole is known of the piece; tasks for which it is not are refused by ``measure``.
        known = [
            fastcopy(one, start=0.0, duration=piece.duration, alignment=None) for one in cut.supervisions
        ]
        return fastcopy(piece, id=f"{cut.id}@{start:.0f}", supervisions=known)


class LoadedSource(NamedTuple):
    """A source under a task, with its rows."""

    task: str
    source: str
    rows: Rows


class TokenLengths:
    """How many tokens every row has under every paraphrase of a task."""

    def __init__(self, table: np.ndarray[Any, np.dtype[np.int32]], wording: str = "") -> None:
        """Keep a table.

        Args:
            table: (N, choices), memory-mapped or not.
            wording: digest of how its task is put into words.
        """
        self.table = table
        self.wording = wording
        self.num_choices = table.shape[1]

    def of(self, rows_P: Integers, choices_P: Integers) -> Integers:
        """Tokens of rows under paraphrases."""
        return np.asarray(self.table[rows_P, choices_P], dtype=np.int64)

    @property
    def mean(self) -> float:
        """Over rows and paraphrases, which are drawn equally often."""
        return float(self.table.mean())


def cached_token_lengths(rows: Rows, maker: ExampleMaker, task: str, *, cache: Path) -> TokenLengths:
    """Measure all rows of a source under a task, or find them measured.

    Args:
        cache: folder of all indexes.

    Raises:
        DataError: a cut lacks a label that its task needs, or is heard in pieces that have no label.
    """
    wording = wording_of(rows, maker, task)
    known = [
        VERSION,
        rows.index.digest,
        task,
        maker.prompt,
        maker.vocabulary.digest,
        maker.token_count.windows,
    ]

    def make() -> np.ndarray[Any, np.dtype[np.int32]]:
        return token_lengths(rows, maker, task)

    name = f"{rows.index.source}/tokens"
    with folder_lock(cache / rows.index.source):
        table = cached_table(cache, name, [*known, wording], make, num_rows=len(rows))
    return TokenLengths(table, wording)


def wording_of(rows: Rows, maker: ExampleMaker, task: str) -> str:
    """Digest of how a task is put into words: its templates, and some rows of the source as they come out."""
    state = hashlib.sha256(json.dumps(maker.templates(task)).encode())
    for row in sorted({0, len(rows) // 2, len(rows) - 1}):
        if rows.start(row) and not maker.is_valid_for_chunks(task):
            continue
        for choice in range(maker.num_choices(task)):
            example = maker.example(rows.cut(row), task, choice=choice)
            state.update(json.dumps([example.token_ids, example.is_learned]).encode())
    return state.hexdigest()[:16]
