"""Answers of more than one label: time stamps, entities, slots, notes.

Each has two functions with the same content: parts with special tokens (``Markup``),
and plain words. The special tokens follow the released vocabulary of Qwen-Audio.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from audio_lm.common.audio_units import MAX_SECONDS, Seconds
from audio_lm.common.errors import DataError
from audio_lm.common.languages import check_tag, name_of_language
from audio_lm.common.word_timestamps import SILENCE, stamp, timed_units
from audio_lm.tasks.task import Labels, Markup, Target

NUM_MIDI = 128
NONE = "none"


def label(key: str, *, title: str = "") -> Target:
    """Answer with one label, after its title if several tasks share their tags."""
    return partial(_label, key, title)


def _label(key: str, title: str, labels: Labels) -> Sequence[str]:
    return (f"{title}: {labels[key]}" if title else str(labels[key]),)


def label_list(key: str, *, separator: str) -> Target:
    """Answer with a label that is a list of strings."""
    return partial(_label_list, key, separator)


def _label_list(key: str, separator: str, labels: Labels) -> Sequence[str]:
    return (separator.join(labels[key]),)


def any_label(key: str) -> Target:
    """Answer with a label of any name, see ``label_as_text``."""
    return partial(_any_label, key)


def _any_label(key: str, labels: Labels) -> Sequence[str]:
    return (label_as_text(labels, key),)


def label_as_text(labels: Labels, key: str) -> str:
    """Text of a label of any name.

    Raises:
        DataError: its value is no text, number, true or false.
    """
    try:
        return value_as_text(labels[key])
    except ValueError as error:
        raise DataError(
            f"label {key!r} is {str(labels[key])[:60]!r} -- expected {error}; correct it, or leave the clip out"
        ) from error


def value_as_text(value: Any) -> str:
    """Text of a label of the user's own; a list of texts is joined with commas.

    A whole number has no decimals, because other programs add them to a column with an empty cell.

    >>> value_as_text(3.0), value_as_text(0.5), value_as_text(True), value_as_text(" loud "), value_as_text(["a", "b"])
    ('3', '0.5', 'true', 'loud', 'a, b')

    Raises:
        ValueError: the value is of another type, or empty; the message is the expectation.
    """
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a finite number")
    if isinstance(value, int | float):
        return str(int(value)) if value == int(value) else str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text, a number, true or false")
    return value.strip()


def language_tag(labels: Labels) -> Sequence[str]:
    """Language token, which follows the start tag."""
    check_tag(labels["language"])
    return (Markup(f"<|{labels['language']}|>"),)


def language_words(labels: Labels) -> str:
    """English name of the language."""
    return name_of_language(labels["language"])


def timed_words(labels: Labels) -> Sequence[str]:
    """Words and silences between shared time stamps, from 0 s on.

    The released evaluation prompt already ends with the stamp of 0 s, and its
    script therefore drops the first unit of every hypothesis. Here the stamp is
    part of the answer in training and evaluation, so the whole target is scored.
    """
    parts: list[str] = [Markup(stamp(0.0))]
    for unit in timed_units(labels["units"], num_seconds=MAX_SECONDS):
        parts.append(Markup(SILENCE) if unit.symbol == SILENCE else unit.symbol)
        parts.append(Markup(stamp(unit.end)))
    return parts


def timed_words_plain(labels: Labels) -> str:
    """Words with start and end; silences are left out."""
    units = timed_units(labels["units"], num_seconds=MAX_SECONDS)
    return ", ".join(_span(unit.start, unit.end, unit.symbol) for unit in units if unit.symbol != SILENCE)


def speaker_turns(labels: Labels) -> Sequence[str]:
    """Speaker turns with start and end; speakers are numbered by their first turn."""
    parts: list[str] = []
    for speaker, start, end in _with_speaker_numbers(labels["turns"]):
        parts += [Markup(stamp(start)), f"speaker {speaker}", Markup(stamp(end))]
    return parts


def speaker_turns_plain(labels: Labels) -> str:
    """Speaker turns in plain words."""
    return ", ".join(
        _span(start, end, f"speaker {speaker}")
        for speaker, start, end in _with_speaker_numbers(labels["turns"])
    )


def _with_speaker_numbers(
    turns: Sequence[tuple[str, Seconds, Seconds]],
) -> list[tuple[int, Seconds, Seconds]]:
    number_of: dict[str, int] = {}
    return [
        (number_of.setdefault(speaker, len(number_of) + 1), start, end)
        for speaker, start, end in sorted(turns, key=lambda turn: turn[1])
    ]


def marked_entities(labels: Labels) -> Sequence[str]:
    """Transcript with entities and their types marked inline."""
    parts: list[str] = []
    for before, value, kind in _split_at_entities(labels):
        parts.append(before)
        if value:
            parts += [Markup("<|startofentityvalue|>"), value, Markup("<|endofentityvalue|>")]
            parts += [Markup("<|startofentitytype|>"), kind, Markup("<|endofentitytype|>")]
    return parts


def marked_entities_plain(labels: Labels) -> str:
    """Transcript with entities in brackets: ``we met [Ada: person]``."""
    return "".join(
        before + (f"[{value}: {kind}]" if value else "") for before, value, kind in _split_at_entities(labels)
    )


def _split_at_entities(labels: Labels) -> list[tuple[str, str, str]]:
    """Entities, each after the text before it; the last row has the remaining text only."""
    text, rows, position = labels["text"], [], 0
    for value, kind in labels["entities"]:
        start = text.find(value, position)
        if start < 0:
            raise DataError(
                f"label 'entities': {value!r} does not occur in {text[position:]!r} -- expected the "
                f"entities in the order and spelling of the text; correct one of the two labels"
            )
        rows.append((text[position:start], value, kind))
        position = start + len(value)
    return [*rows, (text[position:], "", "")]


def intent(labels: Labels) -> Sequence[str]:
    """Intent: a scenario and an action."""
    return (Markup("<|scenario|>"), labels["scenario"], Markup("<|action|>"), labels["action"])


def intent_plain(labels: Labels) -> str:
    """Intent in plain words."""
    return f"scenario: {labels['scenario']}, action: {labels['action']}"


def slots(labels: Labels) -> Sequence[str]:
    """Slots of a command."""
    return (Markup("<|entities|>"), slots_plain(labels))


def slots_plain(labels: Labels) -> str:
    """Slots of a command in plain words."""
    return ", ".join(f"{kind}: {value}" for kind, value in labels["slots"]) or NONE


def event_spans(labels: Labels) -> Sequence[str]:
    """Each event once, with the time stamps of all its occurrences."""
    parts: list[str] = []
    for event, spans in _spans_of_event(labels).items():
        parts += [Markup("<|startofword|>"), event, Markup("<|endofword|>")]
        for number, (start, end) in enumerate(spans):
            delimiter = [Markup("<|delim|>")] if number else []
            parts += [*delimiter, Markup(stamp(start)), Markup(stamp(end))]
    return parts


def event_spans_plain(labels: Labels) -> str:
    """All occurrences of events with start and end, by start time."""
    times = sorted(labels["event_times"], key=lambda event_time: event_time[1])
    return ", ".join(_span(start, end, event) for event, start, end in times)


def _spans_of_event(labels: Labels) -> dict[str, list[tuple[Seconds, Seconds]]]:
    spans_of: dict[str, list[tuple[Seconds, Seconds]]] = {}
    for event, start, end in sorted(labels["event_times"], key=lambda event_time: event_time[1]):
        spans_of.setdefault(event, []).append((start, end))
    return spans_of


def note(labels: Labels) -> Sequence[str]:
    """Note as in NSynth: pitch, velocity, instrument, qualities."""
    return (
        Markup("<|pitch|>"),
        Markup(f"<|midi_pitch_{_midi(labels, 'pitch')}|>"),
        Markup("<|velocity|>"),
        Markup(f"<|midi_velocity_{_midi(labels, 'velocity')}|>"),
        Markup("<|instrument|>"),
        labels["instrument"],
        Markup("<|sonic|>"),
        ", ".join(labels["qualities"]),
    )


def note_plain(labels: Labels) -> str:
    """Note in plain words."""
    return (
        f"pitch {_midi(labels, 'pitch')}, velocity {_midi(labels, 'velocity')}, "
        f"instrument {labels['instrument']}, qualities {', '.join(labels['qualities']) or NONE}"
    )


def _midi(labels: Labels, key: str) -> int:
    number = int(labels[key])
    if not 0 <= number < NUM_MIDI:
        raise DataError(
            f"label {key!r} is {number} -- expected a MIDI number from 0 to {NUM_MIDI - 1}; correct it"
        )
    return number


def _span(start: Seconds, end: Seconds, what: str) -> str:
    return f"{start:.2f}-{end:.2f} {what}"
