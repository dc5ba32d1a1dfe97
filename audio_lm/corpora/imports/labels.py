"""Columns of foreign rows become labels: which column is which label, and what a value has to be.

Source of the names beside our own: Common Voice's TSV files (client_id, sentence, locale) and the
metadata of audio folders on the Hugging Face Hub (transcription).
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from audio_lm.common.errors import DataError, UserError, unknown
from audio_lm.common.languages import LANGUAGE_LABELS, language_code
from audio_lm.corpora.imports.common import ImportOptions, Row
from audio_lm.corpora.labels import LABELS

INTEGER_LABELS = frozenset({"pitch", "velocity"})
LIST_LABELS = frozenset({"texts", "turns", "entities", "slots", "events", "event_times", "qualities"})
COLUMN_LABELS = LABELS - {"conversation", "rejected", "places", "honesty"}
NON_TARGET_LABELS = frozenset(
    {"language", "target_language", "speaker"}
)  # which are true of a clip but nothing to learn
LABEL_OF_COLUMN = {
    "transcription": "text",
    "transcript": "text",
    "sentence": "text",
    "lang": "language",
    "locale": "language",
    "client_id": "speaker",
    "speaker_id": "speaker",
}
GENDERS = {"m": "male", "male": "male", "male_masculine": "male"} | {
    "f": "female",
    "female": "female",
    "female_feminine": "female",
}


def choose_columns(columns: Collection[str], options: ImportOptions) -> dict[str, str]:
    """Column -> label of those columns that become labels.

    Args:
        columns: that the file has.

    Raises:
        DataError: two columns would be one label, or a column that was asked for is not there.
        UserError: a column was to be a label that does not exist.
    """
    check_labels(options)
    if missing := options.columns.keys() - set(columns):
        raise DataError(f"no column {sorted(missing)}; the file has {sorted(columns)}, correct the names")
    chosen = {column: label for column, label in options.columns.items() if label}
    for known in ({label: label for label in COLUMN_LABELS}, LABEL_OF_COLUMN):
        taken = set(chosen.values())
        chosen |= {
            column: known[column]
            for column in columns
            if column in known and known[column] not in taken and column not in options.columns
        }
    doubled = {
        label: sorted(column for column in chosen if chosen[column] == label) for label in chosen.values()
    }
    if several := {label: names for label, names in doubled.items() if len(names) > 1}:
        raise DataError(f"columns {several} would be one label; leave all but one out with an empty label")
    return chosen


def check_labels(options: ImportOptions) -> None:
    """See that columns are to become labels that exist.

    Raises:
        UserError: one does not.
    """
    for label in options.columns.values():
        if label and label not in COLUMN_LABELS:
            raise UserError(unknown("label", label, COLUMN_LABELS, see="the columns that were given"))


def row_labels(row: Row, label_of_column: Mapping[str, str], options: ImportOptions) -> dict[str, Any]:
    """Labels of a row; empty cells are none, and columns with an empty label are left out.

    Raises:
        DataError: a value is not what its label has to be, or there is nothing to learn in the row.
    """
    labels: dict[str, Any] = options.label_language()
    row.skip(column for column, label in options.columns.items() if not label)
    for column, label in label_of_column.items():
        value = row.get(column)
        if value is not None and value != "":
            labels[label] = parse_label(label, value, column)
    if not labels.keys() - NON_TARGET_LABELS:
        raise DataError(f"the row says nothing in {sorted(label_of_column)}; fill it in or leave the row out")
    return labels


def parse_label(label: str, value: Any, column: str) -> Any:
    """A value as its label has it.

    Raises:
        DataError: it cannot be one.
    """
    if label in LIST_LABELS:
        return _list(value, label, column)
    if label in INTEGER_LABELS:
        return _integer(value, label, column)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{column!r} is {value!r} -- expected a text for the label {label!r}; correct it")
    text = str(value)
    if label in LANGUAGE_LABELS:
        return language_code(text)
    if label == "gender":
        if text.lower() not in GENDERS:
            raise DataError(
                f"{column!r} is {text!r} -- expected one of {sorted(GENDERS)}; correct it or leave the column out"
            )
        return GENDERS[text.lower()]
    return text


def _list(value: Any, label: str, column: str) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            value = None
    if not isinstance(value, list):
        raise DataError(f"{column!r} is no list -- the label {label!r} is one; write it as a JSON list")
    return value


def _integer(value: Any, label: str, column: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if isinstance(value, bool) or number < 0 or str(number) != str(value):
        raise DataError(
            f"{column!r} is {value!r} -- the label {label!r} is an integer, 0 or more; correct it"
        )
    return number
