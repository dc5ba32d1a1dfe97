"""Conversion of columns of imported rows to labels, with checks of their values.

Source of the additional names: Common Voice's TSV files (client_id, sentence, locale) and the
metadata of audio folders on the Hugging Face Hub (transcription).
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from audio_lm.common.errors import DataError, UserError, unknown
from audio_lm.common.languages import LANGUAGE_LABELS, language_code
from audio_lm.corpora.imports.bad_lines import EmptyRowError
from audio_lm.corpora.imports.common import ImportOptions, Row
from audio_lm.corpora.labels import LABELS

INTEGER_LABELS = frozenset({"pitch", "velocity"})
LIST_LABELS = frozenset({"texts", "turns", "entities", "slots", "events", "event_times", "qualities"})
COLUMN_LABELS = LABELS - {"conversation", "rejected", "places", "honesty"}
NON_TARGET_LABELS = frozenset({"language", "target_language", "speaker"})  # not enough to train on
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
    """Column -> label of the columns to import.

    Args:
        columns: of the file.

    Raises:
        DataError: two columns have the same label, or a requested column is missing.
        UserError: the label of a column is unknown.
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
    columns_of_label = {
        label: sorted(column for column in chosen if chosen[column] == label) for label in chosen.values()
    }
    if several := {label: names for label, names in columns_of_label.items() if len(names) > 1}:
        raise DataError(f"columns {several} have the same label; leave out all but one with an empty label")
    return chosen


def check_labels(options: ImportOptions) -> None:
    """Check that all labels of the options exist.

    Raises:
        UserError: one does not.
    """
    for label in options.columns.values():
        if label and label not in COLUMN_LABELS:
            raise UserError(unknown("label", label, COLUMN_LABELS, see="the columns that were given"))


def row_labels(row: Row, label_of_column: Mapping[str, str], options: ImportOptions) -> dict[str, Any]:
    """Labels of a row; empty cells, and columns with an empty label, are left out.

    Raises:
        DataError: a value does not fit its label, or the row has no label to train on.
    """
    labels: dict[str, Any] = options.label_language()
    row.skip(column for column, label in options.columns.items() if not label)
    for column, label in label_of_column.items():
        value = row.get(column)
        if value is not None and str(value).strip() != "":
            labels[label] = parse_label(label, value, column)
    if not labels.keys() - NON_TARGET_LABELS:
        raise EmptyRowError(f"the row has no value in {sorted(label_of_column)}")
    return labels


def parse_label(label: str, value: Any, column: str) -> Any:
    """Convert a value to the type of its label.

    Raises:
        DataError: the value does not fit.
    """
    if label in LIST_LABELS:
        return _parse_list(value, label, column)
    if label in INTEGER_LABELS:
        return _parse_integer(value, label, column)
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


def _parse_list(value: Any, label: str, column: str) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            value = None
    if not isinstance(value, list):
        raise DataError(f"{column!r} is no list -- the label {label!r} is a list; write it as a JSON list")
    return value


def _parse_integer(value: Any, label: str, column: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if isinstance(value, bool) or number < 0 or str(number) != str(value):
        raise DataError(
            f"{column!r} is {value!r} -- the label {label!r} is an integer, 0 or more; correct it"
        )
    return number
