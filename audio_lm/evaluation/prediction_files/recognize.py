"""Recognition of a file of predictions by its keys."""

from audio_lm.common.errors import DataError
from audio_lm.evaluation.prediction_files import choice_sets, systems, toolkits
from audio_lm.evaluation.prediction_files.format import FileFormat, ReadOptions
from audio_lm.evaluation.prediction_files.records import Record, read_records
from audio_lm.evaluation.prediction_files.rows import FileBenchmark

FORMATS: tuple[FileFormat, ...] = (*toolkits.FORMATS, *choice_sets.FORMATS, *systems.FORMATS)
"""Formats, the more specific first: a table may have the columns of any."""

NUM_READ = 50  # records whose keys are compared; a key may be absent from some


def read_file(options: ReadOptions) -> tuple[FileFormat, list[FileBenchmark]]:
    """Format and benchmarks of a file.

    Raises:
        DataError: the file is in no known format, or a row is incomplete; names it.
    """
    records = read_records(options.path)
    file_format = recognize(options, records)
    return file_format, file_format.read(records, options)


def recognize(options: ReadOptions, records: list[Record]) -> FileFormat:
    """The format of records.

    Raises:
        DataError: none matches.
    """
    keys = frozenset(key for record in records[:NUM_READ] for key in record.fields)
    for file_format in FORMATS:
        if file_format.matches(keys):
            return file_format
    shown = ", ".join(sorted(map(repr, keys))[:12])
    titles = ", ".join(one.title for one in FORMATS)
    raise DataError(
        f"{options.path}: the keys {shown} belong to no known format -- expected one of: {titles} -- or name the columns "
        f"audio, question, answer, choices and prediction; see docs/score.md"
    )
