"""Records of a file of predictions, whatever its keys mean: JSON, JSON lines, CSV, TSV or parquet, distinguished by content."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from audio_lm.common.errors import DataError

MAX_BYTES = 2_000_000_000
PARQUET = b"PAR1"


class Record(NamedTuple):
    """One record of a file."""

    place: str
    """``file:line``, or the number of the record where a record has no line of its own."""

    fields: Mapping[str, Any]


def read_records(path: Path) -> list[Record]:
    """Read all records of a file.

    Raises:
        DataError: there is no such file, it is empty, or a record is damaged; names the line.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; name a file of predictions, or the folder of a run")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} has over {MAX_BYTES / 1e9:.0f} GB; give a file of answers without audio")
    data = path.read_bytes()
    records = list(_parquet(path)) if data.startswith(PARQUET) else _of_text(path, _decoded(path, data))
    if not records:
        raise DataError(f"{path} holds no predictions; is the evaluation that writes it complete?")
    return records


def _decoded(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 ({error.reason}); convert the file to UTF-8") from error


def _of_text(path: Path, text: str) -> list[Record]:
    start = text.lstrip()[:1]
    if start == "[":
        return _json_list(path, text)
    if start == "{":
        return _json_lines(path, text)
    return list(_table(path, text)) if start else []


def _json_list(path: Path, text: str) -> list[Record]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise DataError(
            f"{path}: not JSON ({error}); the file is incomplete or damaged, so write it again"
        ) from error
    return [_record(f"{path}: record {number}", value) for number, value in enumerate(values, start=1)]


def _json_lines(path: Path, text: str) -> list[Record]:
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise DataError(
                f"{path}:{number}: not JSON ({error}) -- expected one record per line -- repair or remove the line"
            ) from error
        records.append(_record(f"{path}:{number}", value))
    return records


def _record(place: str, value: Any) -> Record:
    if not isinstance(value, dict):
        raise DataError(f"{place}: {type(value).__name__} -- expected a record with keys -- repair it")
    return Record(place, value)


def _table(path: Path, text: str) -> Iterator[Record]:
    header = text.split("\n", 1)[0]
    separator = "\t" if "\t" in header else ","
    if separator not in header:
        raise DataError(
            f"{path}:1: {header[:60]!r} is neither JSON nor the header of a table -- expected columns such as audio, question, "
            f"answer, choices, prediction, separated by commas or tabs -- see docs/score.md"
        )
    reader = csv.DictReader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        quoting=csv.QUOTE_NONE if separator == "\t" and not re.search('(^|\t)"', text) else csv.QUOTE_MINIMAL,
        strict=True,
    )
    line = 2
    try:
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{path}:{line}: the number of cells is not that of the header -- expected {len(reader.fieldnames or ())} "
                    f"-- quote a cell that contains {separator!r}"
                )
            yield Record(f"{path}:{line}", row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{line}: not a table ({error}); repair the quotes of this row") from error


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        columns = [
            field.name
            for field in file.schema_arrow
            if not pyarrow.types.is_binary(field.type) and field.name != "audio"
        ]
        rows = file.read(columns=columns).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: not parquet ({error}); write it again") from error
    for number, row in enumerate(rows, start=1):
        yield Record(f"{path}: record {number}", row)
