"""Conversion of columns of imported rows to labels, with checks of their values.

A label that is not in the table of labels is one of the user's own, see ``own_labels``.

Source of the additional names: Common Voice's TSV files (client_id, sentence, locale) and the
metadata of audio folders on the Hugging Face Hub (transcription).
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from audio_lm.common.errors import DataError, UserError
from audio_lm.common.languages import LANGUAGE_LABELS, language_code
from audio_lm.corpora.imports.bad_lines import EmptyRowError
from audio_lm.corpora.imports.common import ImportOptions, Row
from audio_lm.corpora.imports.own_labels import is_kept, is_scalar, own_value
from audio_lm.tasks.labels import LABELS, RULE, is_own_name, names_of_kind

INTEGER_LABELS = names_of_kind("integer")
LIST_LABELS = names_of_kind("texts", "rows")
COLUMN_LABELS = frozenset(name for name, label in LABELS.items() if label.is_column)
NON_TARGET_LABELS = frozenset({"language", "target_language", "speaker"})
"""Labels that are not enough for a row, unless the file has no others."""

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
        UserError: the label of a column has an invalid name.
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
    """Check the names of all labels of the options.

    Raises:
        UserError: one is reserved, or is no name of a label.
    """
    for column, label in options.columns.items():
        if label and label not in COLUMN_LABELS and not is_own_name(label):
            raise UserError(
                f"column {column!r} has the label {label!r}, which is reserved or no name -- expected one of "
                f"{', '.join(sorted(COLUMN_LABELS))}, or a name of your own ({RULE}); choose another"
            )


def row_labels(row: Row, label_of_column: Mapping[str, str], options: ImportOptions) -> dict[str, Any]:
    """Labels of a row; empty cells, and columns with an empty label, are left out.

    Raises:
        DataError: a value does not fit its label, or the row has no label to train on.
    """
    labels: dict[str, Any] = options.label_language()
    row.skip(column for column, label in options.columns.items() if not label)
    for column, label in label_of_column.items():
        if is_kept(column, label, options) and not is_scalar(dict.get(row, column)):
            continue  # and counts as not read
        value = row.get(column)
        if value is not None and str(value).strip() != "":
            labels[label] = parse_label(label, value, column)
    if not labels.keys() & _targets(label_of_column, options):
        raise EmptyRowError(f"the row has no value in {sorted(label_of_column)}")
    return labels


def _targets(label_of_column: Mapping[str, str], options: ImportOptions) -> set[str]:
    """Labels of which a row needs one: those of known and requested columns, or of the others if there are none."""
    known = {label for column, label in label_of_column.items() if not is_kept(column, label, options)}
    return known - NON_TARGET_LABELS or set(label_of_column.values()) - NON_TARGET_LABELS or known


def parse_label(label: str, value: Any, column: str) -> Any:
    """Convert a value to the type of its label.

    Raises:
        DataError: the value does not fit.
    """
    if label not in LABELS:
        return own_value(value, column)
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
