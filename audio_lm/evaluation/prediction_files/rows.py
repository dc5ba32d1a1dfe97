"""Rows of predictions in one form, and the scores of a format."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.common.languages import UNKNOWN_LANGUAGE
from audio_lm.evaluation.choice_lines import choice_lines


@dataclass(frozen=True)
class FileRow:
    """A question with the answer of some system."""

    place: str
    """``file:line``."""

    id: str
    references: tuple[str, ...]
    """Reference answers; none if the file withholds them."""

    answer: str | None
    """Raw answer; None if the file has no prediction for this question."""

    choices: tuple[str, ...] = ()
    language: str = UNKNOWN_LANGUAGE
    recorded: float | None = None
    """Result of this row that the publisher's code wrote to the file."""

    speaker: str | None = None
    recording: str | None = None
    """Audio file; both for intervals, because the clips of one are not independent."""


@dataclass(frozen=True)
class Official:
    """An official number: a metric, and what the publisher's code does with rows that have no prediction."""

    metric: str

    leaves_out_missing: bool = False
    """True if rows without a prediction shrink the denominator; else they count as empty answers."""


@dataclass(frozen=True)
class FileBenchmark:
    """Rows that are scored together."""

    name: str
    rows: Sequence[FileRow]
    official: tuple[Official, ...] = ()
    clean: tuple[str, ...] = ()
    """Metrics, over all rows with a reference."""

    prediction_key: str = "prediction"
    """Key of the prediction, for messages."""

    not_computed: Mapping[str, str] = field(default_factory=dict)
    """Official number -> reason why it cannot be computed from the file."""

    recorded_name: str = ""
    """Name of the mean of the recorded results; empty if they are not shown."""


def text_field(record: Mapping[str, Any], key: str) -> str | None:
    """Text of a key; None if the key is absent or null. Numbers are written as JSON writes them."""
    value = record.get(key)
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def required_text(place: str, record: Mapping[str, Any], key: str) -> str:
    """Text of a key that every row has.

    Raises:
        DataError: it is absent.
    """
    value = text_field(record, key)
    if value is None:
        raise DataError(f"{place}: no {key!r} -- expected one in every row of this format -- repair the row")
    return value


def choices_of(place: str, value: Any) -> tuple[str, ...]:
    r"""Texts of choices, given as a list, as JSON, as lines ``A. text``, or separated by ``|``.

    Raises:
        DataError: they are in none of these forms, or there are fewer than two.

    >>> choices_of("f:1", '["man", "woman"]'), choices_of("f:1", "man | woman"), choices_of("f:1", "A. man\nB. woman")
    (('man', 'woman'), ('man', 'woman'), ('man', 'woman'))
    """
    if isinstance(value, str):
        value = _choices_in(value)
    if not isinstance(value, list) or len(value) < 2:
        raise DataError(
            f"{place}: choices {value!r} -- expected two or more, as a list, as JSON, or separated by | -- repair the row"
        )
    return tuple(str(choice) for choice in value)


def _choices_in(text: str) -> Any:
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    lettered = lettered_choices(text)
    return lettered or [part.strip() for part in text.split("|")]


def lettered_choices(text: str) -> list[str]:
    r"""Choices that a prompt lists as lines ``A. text``, from the last line with an A on; none if there are fewer than two.

    >>> lettered_choices("Who speaks?\nA. man\nB. woman\nAnswer with the letter.")
    ['man', 'woman']
    """
    return [line[4] for line in choice_lines(text)]


def check_unique(rows: Sequence[FileRow]) -> None:
    """Check that every question has one answer.

    Raises:
        DataError: an id occurs twice; names both places.
    """
    place_of: dict[str, str] = {}
    for row in rows:
        if row.id in place_of:
            raise DataError(
                f"{row.place}: id {row.id!r} is also that of {place_of[row.id]} -- expected one answer per question -- remove "
                f"one of them"
            )
        place_of[row.id] = row.place
