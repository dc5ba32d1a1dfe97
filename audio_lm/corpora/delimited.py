"""Records of CSV and TSV files with their lines; knows no columns' meaning.

CSV is read with quotes, TSV without. A quote that opens and is not closed in its row makes one cell of the rows that
follow, without an error where a later quote closes it: such a cell is refused.
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
    """The columns of a file, and its records, each with the line it begins in; blank lines are none.

    Args:
        columns: names, where the file has no heading.
        escape: the sign that stands before signs which mean themselves.

    Raises:
        DataError: the file is missing or no such table, also while records are read; names the line.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; give a file that is there")
    read = _read(path, separator, escape)
    heading = list(columns) or next(read, (1, []))[1]
    if _has_quotes(separator) and len(heading) == 1 and re.search("[;\t]", heading[0]):
        raise DataError(
            f"{path}:1: the heading is one column, {heading[0]!r}; separate columns by commas, or by tabs in a file .tsv"
        )
    if doubled := sorted({name for name in heading if name and heading.count(name) > 1}):
        raise DataError(f"{path}:1: columns {doubled} stand there twice; rename or remove one of each")
    return heading, _check_records(path, read, len(heading), separator) if _has_quotes(separator) else read


def record_dict(columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """A record as column -> cell.

    Raises:
        DataError: it has another number of cells.
    """
    if len(cells) != len(columns):
        raise DataError(f"{len(columns)} columns wanted and {len(cells)} found; repair the line")
    return dict(zip(columns, cells, strict=True))


def _has_quotes(separator: str) -> bool:
    return separator == ","


def _read(path: Path, separator: str, escape: str | None) -> Iterator[tuple[int, list[str]]]:
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
                f"{path}:{line}: this is no CSV ({error}); a quote that opens in this row is not closed or stands inside "
                f"a cell; close it, or double it where it means itself"
            ) from error
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{line}: this is not UTF-8 ({error.reason}); convert the file to UTF-8"
            ) from error


def _check_records(
    path: Path, read: Iterator[tuple[int, list[str]]], num_columns: int, separator: str
) -> Iterator[tuple[int, list[str]]]:
    """The records, if no cell has swallowed others."""
    for line, cells in read:
        begins = line
        for index, cell in enumerate(cells):
            lines = _LINE_END.split(cell)
            if len(lines) > 1 and _contains_rows(lines, index, cells, num_columns, separator):
                raise DataError(
                    f"{path}:{begins}: the quote that opens here closes {len(lines) - 1} lines below, and what is between "
                    f"reads as rows of their own; close the quote in its row, or write the cell in one line"
                )
            begins += len(lines) - 1
        yield line, cells


def _contains_rows(
    lines: list[str], index: int, cells: Sequence[str], num_columns: int, separator: str
) -> bool:
    """Whether the lines of a cell read as the end of one row, whole rows, and the beginning of another.

    Either each has the number of separators of such a row, or one has a file name in it as other cells of the record.
    """
    first, *others = lines[0], *(line for line in lines[1:] if line.strip())
    if not others:
        return False
    counts = [line.count(separator) for line in others]
    wanted = [num_columns - 1] * (len(others) - 1) + [index]
    if counts == wanted and first.count(separator) >= num_columns - 1 - index:
        return True
    suffixes = {match[0].lower() for cell in cells if (match := _SUFFIX.search(cell.strip()))}
    pieces = [piece.strip() for line in others if separator in line for piece in line.split(separator)]
    return any((match := _SUFFIX.search(piece)) and match[0].lower() in suffixes for piece in pieces)
