"""Answers of an evaluation in progress: one line per pack, so that a killed evaluation continues at the next pack.

Every rank appends to a file of its own, ``predictions/<benchmark>.partial-<rank>.jsonl``, whose first line is the stamp.
A pack belongs to the rank ``pack % ranks``, whatever has been answered, so no pack is lost or answered twice; all ranks
read all files first, and another number of ranks may go on.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from audio_lm.common.errors import DataError, UserError
from audio_lm.evaluation.benchmarks import predictions_name
from audio_lm.evaluation.stamp import Stamp

STAMP, PACK, ANSWERS = "stamp", "pack", "answers"


class Answer(NamedTuple):
    """Raw answer to a prompt."""

    text: str
    logprobs: dict[str, float] | None = None
    """Log-probability of every allowed answer, of a closed benchmark."""


class AnswerLog:
    """Context of the answers to a benchmark; deleted with ``remove`` when the predictions are written.

    Args:
        folder: of the predictions.
        rank: of this process.
    """

    def __init__(self, folder: Path, benchmark: str, stamp: Stamp, rank: int = 0) -> None:
        self.folder = folder
        self.benchmark = benchmark
        self.stamp = stamp
        self.path = _path(folder, benchmark, rank)
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Open the file of this rank.

        Raises:
            DataError: answers of another stamp are there; names the file.
            UserError: another process evaluates this benchmark.
        """
        for path in self._paths():
            self._check(path)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise UserError(
                f"{self.path} is being written by another evaluation; wait for its end, or stop it"
            ) from None
        self._drop_torn_line()
        if os.fstat(self._file.fileno()).st_size == 0:
            self._append({STAMP: asdict(self.stamp)})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def answered(self) -> dict[int, dict[str, Answer]]:
        """Pack -> key of the prompt -> answer, from the files of all ranks."""
        packs = {}
        for path in self._paths():
            for record in _records(path):
                if PACK in record:
                    packs[record[PACK]] = {key: Answer(*fields) for key, fields in record[ANSWERS].items()}
        return packs

    def append(self, pack: int, answers: Mapping[str, Answer]) -> None:
        """Add the answers of a pack; after a kill they are there whole or not at all."""
        self._append({PACK: pack, ANSWERS: {key: [*answer] for key, answer in answers.items()}})

    def remove(self) -> None:
        """Delete the files of all ranks."""
        for path in self._paths():
            path.unlink()

    def _paths(self) -> list[Path]:
        return partial_files(self.folder, self.benchmark)

    def _append(self, record: Mapping[str, Any]) -> None:
        assert self._file is not None, "the log is a context"
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()  # the answers survive this process; a lost machine costs them

    def _drop_torn_line(self) -> None:
        assert self._file is not None, "called by the context"
        self._file.seek(0)
        content = self._file.read()
        self._file.truncate(content.rfind(b"\n") + 1)

    def _check(self, path: Path) -> None:
        first = next(_records(path), None)
        if first is None:
            return  # killed before its first line
        stamp = first.get(STAMP)
        other = self.stamp.differences(stamp if isinstance(stamp, dict) else {})
        if other:
            raise DataError(
                f"{path} holds answers that were given by or to {' and '.join(other)}, so they cannot be continued -- "
                f"expected the stamp {self.stamp.digest} -- remove the file, or evaluate with --again"
            )


def partial_files(folder: Path, benchmark: str) -> list[Path]:
    """Files of an evaluation that has not ended."""
    name = predictions_name(benchmark).removesuffix(".jsonl")
    return sorted(
        path for path in folder.glob("*.partial-*.jsonl") if path.name.rpartition(".partial-")[0] == name
    )


def _path(folder: Path, benchmark: str, rank: int) -> Path:
    return folder / predictions_name(benchmark).replace(".jsonl", f".partial-{rank}.jsonl")


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Records of the whole lines of a file."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    for line in lines:
        if not line.endswith(b"\n"):
            return
        try:
            record = json.loads(line)
        except ValueError:
            continue  # damaged: its pack is answered again
        if isinstance(record, dict):
            yield record
