"""Errors of the lines of an import: reported together, or left out and counted up to a limit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from audio_lm.common.errors import DataError

MAX_LINES_SHOWN = 20  # of bad lines in a message


class EmptyRowError(DataError):
    """A row has no label to train on, such as an empty transcript; it is left out and counted."""


class LineFaultsError(DataError):
    """All faults of one line, for a format that reports more than the first."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = list(faults)


class BadLines:
    """Collect the errors of all lines of an import, to report them at once before anything is written."""

    def __init__(self, num_allowed: int = 0) -> None:
        """Start without errors.

        Args:
            num_allowed: bad lines that are left out instead of stopping the import.
        """
        self.max_shown: int | None = MAX_LINES_SHOWN
        """Lines in a message; None shows all."""
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
        except LineFaultsError as error:
            self._errors.append("\n".join(f"{where}{fault}" for fault in error.faults))
        except DataError as error:
            self._errors.append(f"{where}{error}")

    def raise_errors(self) -> None:
        """Raise the recorded errors, if there are more than allowed.

        Raises:
            DataError: shows the first ``max_shown``.
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
        shown = self._errors[: self.max_shown]
        more = len(self._errors) - len(shown)
        return "\n".join(shown + ([f"and {more} more"] if more > 0 else []))
