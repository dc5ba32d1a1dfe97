"""A table with a column of audio: CSV, TSV or JSONL, or a folder of audio with metadata.csv or metadata.jsonl in it.

Columns named like a label are that label, a few other names are known, and the options' columns add to
them. A column ``split`` is heeded: rows of other splits than the one asked for are left out.

Source: huggingface/datasets at b7cb10b0, docs/source/audio_dataset.mdx (AudioFolder, metadata, paths
relative to it).
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.delimited import read_records, record_dict
from audio_lm.corpora.imports.common import (
    BadLines,
    ImportOptions,
    Row,
    UnreadKeys,
    for_each_row,
    resolve_audio_path,
)
from audio_lm.corpora.imports.labels import choose_columns, row_labels
from audio_lm.corpora.imports.writer import ImportWriter

AUDIO = "audio"  # in place of a label
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
        DataError: it has no column of audio or of labels, or bad lines, all of them in one message.
    """
    path = _file(path)
    rows = _rows(path)
    columns = list(dict.fromkeys(column for _, row in rows for column in row))
    audio_column, options = _audio_column(path, columns, options)
    free = [column for column in columns if column not in (*AUDIO_COLUMNS, audio_column)]
    label_of_column = choose_columns(free, options)
    ids = "id" if "id" not in options.columns else ""
    has_split = SPLIT in free and SPLIT not in options.columns
    left_out: Counter[str] = Counter()
    bad, unread = BadLines(), UnreadKeys()
    for line, row in rows:
        with bad.noted(path, line):
            if has_split and (split := _split(row)) != options.split:
                left_out[split] += 1
                continue
            audio = resolve_audio_path(_inner(row.get(audio_column)), path.parent, options)
            labels = row_labels(row, label_of_column, options)
            writer.add(options.subset_split, options.cut_id(line, row.get(ids)), audio, labels)
            unread.add(row)
    bad.stop()
    if left_out:
        counts = ", ".join(f"{count} of {split}" for split, count in sorted(left_out.items()))
        writer.notes.append(f"rows of other splits were left out: {counts}")
    writer.notes += unread.notes()


def _audio_column(path: Path, columns: list[str], options: ImportOptions) -> tuple[str, ImportOptions]:
    """The column of audio, and the options without it."""
    given = [column for column, label in options.columns.items() if label == AUDIO]
    found = [column for column in given or AUDIO_COLUMNS if column in columns]
    if not found:
        raise DataError(
            f"{path}: no column of audio {given or AUDIO_COLUMNS} among {columns}; name the column"
        )
    labels = {column: label for column, label in options.columns.items() if label != AUDIO}
    return found[0], replace(options, columns=labels)


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [path / name for name in METADATA if (path / name).is_file()]
    if len(found) != 1:
        raise DataError(
            f"{path} has {len(found)} of the files {METADATA} -- expected one; give the file's own path"
        )
    return found[0]


def _rows(path: Path) -> list[tuple[int, Row]]:
    """Rows with the number that their ids are made of: of the line in a CSV, else of the row."""
    if path.suffix in (".csv", ".tsv"):
        return _delimited(path, "," if path.suffix == ".csv" else "\t")
    if path.suffix not in (".jsonl", ".json"):
        raise DataError(
            f"{path} -- expected a file .csv, .tsv, .jsonl or .json, or a folder; rename or convert it"
        )
    rows: list[tuple[int, Row]] = []
    for_each_row(path, lambda number, row: rows.append((number, row)), [])
    return rows


def _delimited(path: Path, separator: str) -> list[tuple[int, Row]]:
    columns, lines = read_records(path, separator=separator)
    bad = BadLines()
    rows: list[tuple[int, Row]] = []
    for line, cells in lines:
        with bad.noted(path, line):
            rows.append((line, Row(record_dict(columns, cells))))
    bad.stop()
    if not rows:
        raise DataError(f"{path} holds no rows; is it the right file?")
    return rows


def _inner(value: Any) -> Any:
    """The path inside the object that the Hub's own files have for a clip."""
    return value.get("path") if isinstance(value, dict) else value


def _split(row: Row) -> str:
    name = str(row.get(SPLIT, "")).lower()
    if name not in SPLIT_OF_NAME:
        raise DataError(
            f"'split' is {row.get(SPLIT)!r} -- expected one of {sorted(SPLIT_OF_NAME)}; correct it, or leave the "
            f"column out with an empty label"
        )
    return SPLIT_OF_NAME[name]
