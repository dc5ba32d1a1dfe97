"""Records of CSV and TSV files with their line numbers, whatever the columns mean.

CSV is read with quotes, TSV without. A quote that is not closed in its row joins the following rows into one cell, and
the ``csv`` module reports nothing if a later quote closes it. Such a cell is refused here.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from audio_lm.common.errors import DataError

_LINE_END = re.compile(r"\r\n|\r|\n")
_SUFFIX = re.compile(r"\.(?=\w*[A-Za-z])\w{2,5}$")


def read_records(
    path: Path, *, separator: str = ",", columns: Sequence[str] = (), escape: str | None = None
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Columns and records of a file, each record with the number of its first line; blank lines are skipped.

    Args:
        columns: names, for a file without a header.
        escape: escape character.

    Raises:
        DataError: the file is missing or malformed, also during iteration; names the line.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; give an existing file")
    rows = _read_rows(path, separator, escape)
    header = list(columns) or next(rows, (1, []))[1]
    if _has_quotes(separator) and len(header) == 1 and re.search("[;\t]", header[0]):
        raise DataError(
            f"{path}:1: the header is one column, {header[0]!r}; separate columns by commas, or by tabs in a file .tsv"
        )
    if duplicates := sorted({name for name in header if name and header.count(name) > 1}):
        raise DataError(f"{path}:1: duplicate columns {duplicates}; rename or remove one of each")
    if _has_quotes(separator):
        rows = _check_records(path, rows, len(header), separator)
    return header, rows


def record_dict(columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Map columns to the cells of a record.

    Raises:
        DataError: the number of cells is not the number of columns.
    """
    if len(cells) != len(columns):
        raise DataError(
            f"cells: {len(cells)} -- expected {len(columns)}, one for each column; repair the line"
        )
    return dict(zip(columns, cells, strict=True))


def _has_quotes(separator: str) -> bool:
    return separator == ","


def _read_rows(path: Path, separator: str, escape: str | None) -> Iterator[tuple[int, list[str]]]:
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if _has_quotes(separator) else csv.QUOTE_NONE
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator, quoting=quoting, escapechar=escape, strict=True)
        line = 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{path}:{line}: this is not CSV ({error}); a quote that opens in this row is not closed or is inside "
                f"a cell; close it, or double a literal quote"
            ) from error
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{line}: this is not UTF-8 ({error.reason}); convert the file to UTF-8"
            ) from error


def _check_records(
    path: Path, rows: Iterator[tuple[int, list[str]]], num_columns: int, separator: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield the records; refuse a cell that contains other records."""
    for line, cells in rows:
        cell_line = line
        for index, cell in enumerate(cells):
            lines = _LINE_END.split(cell)
            if len(lines) > 1 and _contains_rows(lines, index, cells, num_columns, separator):
                raise DataError(
                    f"{path}:{cell_line}: the quote that opens here closes {len(lines) - 1} lines below, and the text between "
                    f"reads as separate rows; close the quote in its row, or write the cell in one line"
                )
            cell_line += len(lines) - 1
        yield line, cells


def _contains_rows(
    lines: list[str], index: int, cells: Sequence[str], num_columns: int, separator: str
) -> bool:
    """Check whether the lines of a cell read as the end of one row, complete rows, and the start of another.

    Either each line has the number of separators of such a row, or a line contains a file name with a suffix that other
    cells of the record have.
    """
    first, *others = lines[0], *(line for line in lines[1:] if line.strip())
    if not others:
        return False
    counts = [line.count(separator) for line in others]
    expected = [num_columns - 1] * (len(others) - 1) + [index]
    if counts == expected and first.count(separator) >= num_columns - 1 - index:
        return True
    suffixes = {match[0].lower() for cell in cells if (match := _SUFFIX.search(cell.strip()))}
    pieces = [piece.strip() for line in others if separator in line for piece in line.split(separator)]
    return any((match := _SUFFIX.search(piece)) and match[0].lower() in suffixes for piece in pieces)
