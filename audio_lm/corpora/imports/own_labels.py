"""Labels of the user's own: columns of an imported table that are no known label.

Their values are texts. A whole number is written without decimals, and true and false in small letters, so that the
same label is the same text in CSV, where other programs add decimals to a column with an empty cell, and in JSON.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.tasks.labels import LABELS, is_own_name
from audio_lm.tasks.targets import value_as_text

WHOLE = re.compile(r"([+-]?\d+)\.0+")
NUM_SHOWN = 6  # values of a label in a note
MIN_ROWS = 20  # above which values are compared with the number of rows
MAX_SHARE = 0.5  # of distinct values among rows
SIMILARITY = 0.85  # of a name to a known label


def own_columns(
    columns: Iterable[str], label_of_column: Mapping[str, str], options: ImportOptions
) -> dict[str, str]:
    """Column -> label of the columns that are kept as labels of the user's own.

    Args:
        label_of_column: of the columns that are labels already.
    """
    taken = {*label_of_column, *options.columns, *label_of_column.values()}
    return {column: column for column in columns if column not in taken and is_own_name(column)}


def is_kept(column: str, label: str, options: ImportOptions) -> bool:
    """True if a column is a label of the user's own without a request for it."""
    return label not in LABELS and column not in options.columns


def is_scalar(value: Any) -> bool:
    """True if a value can be a label of the user's own."""
    return value is None or isinstance(value, str | int | float)


def own_value(value: Any, column: str) -> str:
    """Text of a value.

    Raises:
        DataError: it is no text, number, true or false.
    """
    try:
        if not is_scalar(value):
            raise ValueError("a text, a number, true or false")
        text = value_as_text(value)
    except ValueError as error:
        raise DataError(f"{column!r} is {str(value)[:60]!r} -- expected {error}; correct it") from error
    whole = WHOLE.fullmatch(text)
    return whole[1] if whole else text


class OwnLabels:
    """Count the values of labels of the user's own, for notes."""

    def __init__(self) -> None:
        self._values: dict[str, Counter[str]] = {}
        self._num_rows = 0

    def add(self, labels: Mapping[str, Any]) -> None:
        """Count an imported row."""
        self._num_rows += 1
        for label in labels.keys() - LABELS.keys():
            self._values.setdefault(label, Counter())[labels[label]] += 1

    def notes(self) -> list[str]:
        """Sentences about the labels and what looks wrong in them; empty if there are none."""
        if not self._values:
            return []
        listed = [self._described(label) for label in sorted(self._values)]
        remarks = [remark for label in sorted(self._values) for remark in self._remarks(label)]
        return [f"labels of your own: {', '.join(listed)}", *remarks]

    def _described(self, label: str) -> str:
        values = self._values[label]
        shown = [value[:20] for value, _ in values.most_common()] if len(values) <= NUM_SHOWN else []
        parts = [" | ".join(shown) or f"{len(values)} values"]
        if empty := self._num_rows - values.total():
            parts.append(f"empty in {empty} of {self._num_rows} rows")
        return f"{label} ({', '.join(parts)})"

    def _remarks(self, label: str) -> list[str]:
        values = self._values[label]
        remarks = []
        if near := get_close_matches(label, LABELS, n=1, cutoff=SIMILARITY):
            remarks.append(
                f"label {label!r} is not the label {near[0]!r}; for that one, use --column ...={near[0]}"
            )
        if values.total() >= MIN_ROWS and len(values) > MAX_SHARE * values.total():
            remarks.append(
                f"label {label!r} has {len(values)} values in {values.total()} rows, so it may be an id or a remark; leave "
                f"it out with --column {label}="
            )
        elif similar := _similar(values):
            remarks.append(f"label {label!r}: {' and '.join(map(repr, similar))} are different answers")
        return remarks


def _similar(values: Iterable[str]) -> list[str]:
    """The first values that differ in case or as numbers only."""
    spellings: dict[Any, list[str]] = {}
    for value in values:
        spellings.setdefault(_key(value), []).append(value)
    return next((same for same in spellings.values() if len(same) > 1), [])


def _key(value: str) -> Any:
    try:
        return float(value)
    except ValueError:
        return value.casefold()
