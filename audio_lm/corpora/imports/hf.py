"""Datasets of the Hugging Face Hub, or folders in one of its formats: embedded audio is copied into tars, as it is.

The tars are beside the cut-set, ``<subset>-<split>.audio-<digest>/``, and a clip is a byte range of one of them.
Copying goes on where a killed import stopped. Local files that the dataset only names stay in place.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.common.progress import progress
from audio_lm.corpora.imports.audio_copy import AudioCopy
from audio_lm.corpora.imports.common import ImportOptions, Row
from audio_lm.corpora.imports.hf_dataset import HfDataset, open_dataset
from audio_lm.corpora.imports.table import AUDIO, AUDIO_COLUMNS, import_rows
from audio_lm.corpora.imports.writer import ImportWriter

NAME = "hf"
MIN_ROWS = 500  # fewer rows show no progress


def read(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a dataset; the options' columns may also name the column of ``audio``.

    Raises:
        DataError: the dataset cannot be opened or read, has no column of audio or of labels, or bad rows.
        UserError: the library is not installed, or another process imports the same dataset.
    """
    dataset = open_dataset(str(path), options)
    dataset.audio_column = column = _audio_column(dataset, options)
    title = Path(dataset.name) if Path(dataset.name).is_file() else Path(dataset.name) / dataset.split
    name = f"{options.subset_split}.audio-"
    copy = AudioCopy(writer.folder / f"{name}{dataset.digest()}", column)
    with copy.locked():
        if not copy.is_complete:
            _copy(dataset, copy)
    options = replace(options, columns={**options.columns, column: AUDIO})
    rows = ((title, number, row) for number, row in _rows(copy))
    import_rows(title, rows, writer, options, dataset.columns)
    others = [place.name for place in writer.folder.glob(f"{name}*") if place != copy.folder]
    if others:
        writer.notes.append(
            f"{writer.folder} has audio of earlier imports, {', '.join(sorted(others))}; delete what no cut-set uses"
        )


def _audio_column(dataset: HfDataset, options: ImportOptions) -> str:
    """Column of audio: the given one, the only one of type audio, or one with a known name."""
    given = [column for column, label in options.columns.items() if label == AUDIO]
    named = [name for name in AUDIO_COLUMNS if name in dataset.columns][:1]
    found = given or dataset.audio_columns or named
    if len(found) != 1 or found[0] not in dataset.columns:
        raise DataError(
            f"{dataset.name} has the columns {dataset.columns}, and its audio is in {found or 'none of them'} -- expected "
            f"one; give it with --audio-column"
        )
    return found[0]


def _copy(dataset: HfDataset, copy: AudioCopy) -> None:
    """Copy the rows that an earlier import has not copied."""
    total = None if dataset.num_rows is None else dataset.num_rows - copy.num_rows
    with progress("copying audio", total=total, what="rows", min_total=MIN_ROWS) as advance:
        for row in dataset.rows(copy.position, copy.num_rows):
            copy.add(row)
            if copy.is_shard_full:
                copy.close_shard(dataset.position())
            advance(1)
        copy.complete(dataset.position())


def _rows(copy: AudioCopy) -> Iterator[tuple[int, Row]]:
    for number, row in enumerate(copy.rows(), start=1):
        yield number, Row(row)
