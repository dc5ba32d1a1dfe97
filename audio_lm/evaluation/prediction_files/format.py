"""Description of a file format, and the checks that all formats share."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.common.languages import UNKNOWN_LANGUAGE
from audio_lm.evaluation.prediction_files.records import Record
from audio_lm.evaluation.prediction_files.rows import FileBenchmark, FileRow

NORMALIZED = re.compile(r"norm", re.IGNORECASE)


@dataclass(frozen=True)
class ReadOptions:
    """Facts about a file that its content does not tell."""

    path: Path
    metrics: tuple[str, ...] = ()
    """Metrics instead of those of the format."""

    language: str = UNKNOWN_LANGUAGE
    """Language of the references, where the file names none."""


@dataclass(frozen=True)
class FileFormat:
    """A format of predictions."""

    name: str
    title: str
    needs: frozenset[str]
    """Keys by which it is recognized."""

    read: Callable[[Sequence[Record], ReadOptions], list[FileBenchmark]]
    """Function that reads the benchmarks of a file."""

    any_of: frozenset[str] = frozenset()
    """Keys of which it has one or more; empty if none are needed."""

    never: frozenset[str] = frozenset()
    """Keys of other formats that have all the keys of this one."""

    def matches(self, keys: frozenset[str]) -> bool:
        """True if records with these keys are in this format."""
        has_one = not self.any_of or bool(self.any_of & keys)
        return self.needs <= keys and has_one and not self.never & keys


def check_predictions(options: ReadOptions, records: Sequence[Record], key: str) -> None:
    """Check that at least one record has a prediction in its raw form.

    Raises:
        DataError: none has one, or the file has only normalized texts.
    """
    if any(record.fields.get(key) is not None for record in records):
        return
    normalized = sorted({name for record in records for name in record.fields if NORMALIZED.search(name)})
    if normalized:
        raise DataError(
            f"{options.path}: {normalized[0]!r} -- expected the raw answers, in {key!r}, because numbers and punctuation that "
            f"a normalizer removed cannot be scored in another way -- write the answers before normalization"
        )
    raise DataError(
        f"{options.path}: no row ({len(records)} were read) has {key!r} -- expected the raw answer of the model in each row -- "
        f"run the model, or rename the column"
    )


def group_rows(rows: Sequence[tuple[str, FileRow]]) -> dict[str, list[FileRow]]:
    """Rows of each group, in the order of the file."""
    groups: dict[str, list[FileRow]] = {}
    for name, row in rows:
        groups.setdefault(name, []).append(row)
    return groups
