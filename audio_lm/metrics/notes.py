"""Metrics of musical notes: pitch, velocity, instrument and qualities, each scored separately.

Answers are parsed in two forms, with tokens and as plain text; an answer that cannot be parsed is wrong.
Source: Qwen-Audio, eval_audio/evaluate_note_analysis.py at e81cc26.
"""

import re
from abc import abstractmethod
from typing import NamedTuple

from audio_lm.common.markup import MARKUP
from audio_lm.metrics.clip_metric import SumMetric, ratio
from audio_lm.metrics.labels import MeanAveragePrecision

PITCH = re.compile(r"midi_pitch_(\d{1,9})|\bpitch (\d{1,9})")
VELOCITY = re.compile(r"midi_velocity_(\d{1,9})|\bvelocity (\d{1,9})")
INSTRUMENT = re.compile(r"<\|instrument\|>([^<]*)|\binstrument ([^,]*)")
QUALITIES = re.compile(r"<\|sonic\|>([^<]*)|\bqualities (.*)")
OCTAVE = 12


class Note(NamedTuple):
    """Properties of a note in an answer; ``None`` for a missing one."""

    pitch: int | None
    velocity: int | None
    instrument: str | None
    qualities: frozenset[str]


def parse_note(text: str) -> Note:
    """Parse a note, in either form.

    >>> parse_note("pitch 60, velocity 90, instrument flute, qualities bright, dark").pitch
    60
    """
    pitch, velocity, instrument, qualities = (
        _first_group(pattern, text) for pattern in (PITCH, VELOCITY, INSTRUMENT, QUALITIES)
    )
    listed = {item.strip() for item in MARKUP.sub("", qualities or "").split(",")} - {"", "none"}
    return Note(
        pitch=None if pitch is None else int(pitch),
        velocity=None if velocity is None else int(velocity),
        instrument=None if instrument is None else instrument.strip(),
        qualities=frozenset(listed),
    )


class NoteAccuracy(SumMetric):
    """Fraction of notes with an exactly correct property."""

    @abstractmethod
    def property_of(self, note: Note) -> object:
        """Property to compare; ``None`` if it is missing."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        predicted, expected = (self.property_of(parse_note(text)) for text in (answer, reference))
        return int(predicted is not None and predicted == expected), 1

    def value(self, hits: int, clips: int) -> float:
        return ratio(hits, clips)


class PitchAccuracy(NoteAccuracy):
    """Fraction of notes with the exact pitch."""

    def property_of(self, note: Note) -> int | None:
        return note.pitch


class ChromaAccuracy(NoteAccuracy):
    """Fraction of notes with the right pitch class, in any octave."""

    def property_of(self, note: Note) -> int | None:
        return None if note.pitch is None else note.pitch % OCTAVE


class VelocityAccuracy(NoteAccuracy):
    """Fraction of notes with the exact velocity."""

    def property_of(self, note: Note) -> int | None:
        return note.velocity


class InstrumentAccuracy(NoteAccuracy):
    """Fraction of notes with the right instrument."""

    def property_of(self, note: Note) -> str | None:
        return note.instrument


class QualityPrecision(MeanAveragePrecision):
    """Macro average precision of the qualities, from 0/1 decisions."""

    def items(self, text: str) -> frozenset[str]:
        return parse_note(text).qualities


def _first_group(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return None if match is None else next(group for group in match.groups() if group is not None)
