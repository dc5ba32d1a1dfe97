"""Table with a column of audio: CSV, TSV or JSONL, or a folder of audio with metadata.csv or metadata.jsonl.

A column with the name of a label is that label, some other names are known, and the options add more. If there is a
column ``split``, rows of other splits than the requested one are left out.

Source: huggingface/datasets at b7cb10b0, docs/source/audio_dataset.mdx (AudioFolder, metadata, paths
relative to it).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.delimited import read_records, record_dict
from audio_lm.corpora.imports.bad_lines import BadLines
from audio_lm.corpora.imports.common import (
    ImportOptions,
    Row,
    UnreadKeys,
    for_each_row,
    resolve_audio_path,
)
from audio_lm.corpora.imports.labels import choose_columns, row_labels
from audio_lm.corpora.imports.writer import ImportWriter

AUDIO = "audio"  # instead of a label
AUDIO_COLUMNS = ("audio", "file_name", "path", "audio_filepath")
METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl")
SPLIT = "split"
SPLIT_OF_NAME = {"train": "train", "training": "train"} | {
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
}


def read(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a table; the options' columns may also name the column of ``audio``.

    Raises:
        DataError: there is no column of audio or of labels, or bad lines, all in one message.
    """
    path = _find_file(path)
    rows = [(path, line, row) for line, row in _read_rows(path, writer.bad)]
    import_rows(path, rows, writer, options)


def import_rows(
    path: Path,
    rows: Iterable[tuple[Path, int, Row]],
    writer: ImportWriter,
    options: ImportOptions,
    columns: Sequence[str] = (),
) -> None:
    """Add the rows of a table.

    Args:
        path: what is imported, for messages.
        rows: each with its file and line. Its audio is a text, relative to the folder of the file, or else a checked Path.
        columns: of all rows; needed if ``rows`` can be read only once.

    Raises:
        DataError: there is no column of audio or of labels, or bad lines, all in one message.
    """
    columns = list(columns or dict.fromkeys(column for _, _, row in rows for column in row))
    audio_column, options = _audio_column(path, columns, options)
    free = [column for column in columns if column not in (*AUDIO_COLUMNS, audio_column)]
    label_of_column = choose_columns(free, options)
    ids = "id" if "id" not in options.columns else ""
    has_split = SPLIT in free and SPLIT not in options.columns
    if has_split and options.split_by is not None:
        raise DataError(
            f"{path} has a column 'split', and the import is to be split by {options.split_by.criterion}; leave the column "
            f"out with an empty label, or import each of its splits without --split-by"
        )
    left_out: Counter[str] = Counter()
    bad, unread = writer.bad, UnreadKeys()
    for place, line, row in rows:
        with bad.collect(place, line):
            if has_split and (split := _split(row)) != options.split:
                left_out[split] += 1
                continue
            audio = _audio_value(row.get(audio_column))
            if not isinstance(audio, Path):
                audio = resolve_audio_path(audio, place.parent, options)
            labels = row_labels(row, label_of_column, options)
            writer.add(options.subset_split, options.cut_id(line, row.get(ids)), audio, labels)
            unread.add(row)
    bad.raise_errors()
    if left_out:
        counts = ", ".join(f"{count} of {split}" for split, count in sorted(left_out.items()))
        writer.notes.append(f"rows of other splits were left out: {counts}")
    writer.notes += unread.notes()


def _audio_column(path: Path, columns: list[str], options: ImportOptions) -> tuple[str, ImportOptions]:
    """Column of audio, and the options without it."""
    given = [column for column, label in options.columns.items() if label == AUDIO]
    found = [column for column in given or AUDIO_COLUMNS if column in columns]
    if not found:
        raise DataError(
            f"{path}: no column of audio {given or AUDIO_COLUMNS} among {columns}; give the column the label audio"
        )
    labels = {column: label for column, label in options.columns.items() if label != AUDIO}
    return found[0], replace(options, columns=labels)


def _find_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [path / name for name in METADATA if (path / name).is_file()]
    if len(found) != 1:
        raise DataError(
            f"{path} has {len(found)} of the files {METADATA} -- expected one; give the path of the file"
        )
    return found[0]


def _read_rows(path: Path, bad: BadLines) -> list[tuple[int, Row]]:
    """Rows with the number for their ids: of the line in CSV and TSV, else of the row."""
    if path.suffix in (".csv", ".tsv"):
        return _read_delimited(path, "," if path.suffix == ".csv" else "\t", bad)
    if path.suffix not in (".jsonl", ".json"):
        raise DataError(
            f"{path} -- expected a file .csv, .tsv, .jsonl or .json, or a folder; rename or convert it"
        )
    rows: list[tuple[int, Row]] = []
    for_each_row(path, lambda number, row: rows.append((number, row)), [], bad=bad)
    return rows


def _read_delimited(path: Path, separator: str, bad: BadLines) -> list[tuple[int, Row]]:
    columns, lines = read_records(path, separator=separator)
    rows: list[tuple[int, Row]] = []
    for line, cells in lines:
        with bad.collect(path, line):
            rows.append((line, Row(record_dict(columns, cells))))
    bad.raise_errors()
    if not rows:
        raise DataError(f"{path} has no rows; is it the right file?")
    return rows


def _audio_value(value: Any) -> Any:
    """Path of a clip; files of the Hugging Face Hub have it inside an object."""
    return value.get("path") if isinstance(value, dict) else value


def _split(row: Row) -> str:
    name = str(row.get(SPLIT, "")).lower()
    if name not in SPLIT_OF_NAME:
        raise DataError(
            f"'split' is {row.get(SPLIT)!r} -- expected one of {sorted(SPLIT_OF_NAME)}; correct it, or leave the "
            f"column out with an empty label"
        )
    return SPLIT_OF_NAME[name]
