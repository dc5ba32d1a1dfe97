"""Errors of the lines of an import: reported together, or left out and counted up to a limit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audio_lm.common.errors import DataError

MAX_LINES_SHOWN = 20  # of bad lines in a message


class EmptyRowError(DataError):
    """A row has no label to train on, such as an empty transcript; it is left out and counted."""


class BadLines:
    """Collect the errors of all lines of an import, to report them at once before anything is written."""

    def __init__(self, num_allowed: int = 0) -> None:
        """Start without errors.

        Args:
            num_allowed: bad lines that are left out instead of stopping the import.
        """
        self._num_allowed = num_allowed
        self._errors: list[str] = []
        self._empty: list[str] = []

    @contextmanager
    def collect(self, path: Path, line: int, number: int | None = None) -> Iterator[None]:
        """Context that records a DataError of a line and suppresses it.

        Args:
            number: of the row, where one line may contain several rows.
        """
        where = f"{path}:{line}: " + ("" if number is None else f"row {number}: ")
        try:
            yield
        except EmptyRowError as error:
            self._empty.append(f"{where}{error}")
        except DataError as error:
            self._errors.append(f"{where}{error}")

    def raise_errors(self) -> None:
        """Raise the recorded errors, if there are more than allowed.

        Raises:
            DataError: shows the first ``MAX_LINES_SHOWN``.
        """
        count = len(self._errors)
        if count <= self._num_allowed:
            return
        if count == 1:
            raise DataError(self._errors[0])
        limit = f", and --skip-bad is {self._num_allowed}" if self._num_allowed else ""
        raise DataError(
            f"{count} lines cannot be imported{limit}; correct or remove them, or leave them out with "
            f"--skip-bad {count}:\n{self._shown()}"
        )

    def notes(self) -> list[str]:
        """One sentence on bad lines that were left out, and one on rows without a label."""
        notes = []
        if self._errors:
            notes.append(f"{len(self._errors)} bad lines were left out:\n{self._shown()}")
        if self._empty:
            notes.append(f"{len(self._empty)} rows have no label and were left out, such as {self._empty[0]}")
        return notes

    def _shown(self) -> str:
        more = len(self._errors) - MAX_LINES_SHOWN
        return "\n".join(self._errors[:MAX_LINES_SHOWN] + ([f"and {more} more"] if more > 0 else []))
