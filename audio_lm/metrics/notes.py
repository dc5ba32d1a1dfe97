"""A note as an answer: pitch, velocity, instrument and qualities, each judged by itself.

Both forms are read, with tokens and in words; what cannot be read is wrong.
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
    """What was said about a note; ``None`` where nothing was."""

    pitch: int | None
    velocity: int | None
    instrument: str | None
    qualities: frozenset[str]


def parse_note(text: str) -> Note:
    """Read either form.

    >>> parse_note("pitch 60, velocity 90, instrument flute, qualities bright, dark").pitch
    60
    """
    pitch, velocity, instrument, qualities = (
        _found(pattern, text) for pattern in (PITCH, VELOCITY, INSTRUMENT, QUALITIES)
    )
    listed = {item.strip() for item in MARKUP.sub("", qualities or "").split(",")} - {"", "none"}
    return Note(
        pitch=None if pitch is None else int(pitch),
        velocity=None if velocity is None else int(velocity),
        instrument=None if instrument is None else instrument.strip(),
        qualities=frozenset(listed),
    )


class NoteAccuracy(SumMetric):
    """Share of notes of which something is named exactly."""

    @abstractmethod
    def named(self, note: Note) -> object:
        """What is compared; ``None`` where nothing was said."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        said, meant = (self.named(parse_note(text)) for text in (answer, reference))
        return int(said is not None and said == meant), 1

    def value(self, hits: int, clips: int) -> float:
        return ratio(hits, clips)


class PitchAccuracy(NoteAccuracy):
    """Share of notes whose pitch is named exactly."""

    def named(self, note: Note) -> int | None:
        return note.pitch


class ChromaAccuracy(NoteAccuracy):
    """Share of notes whose pitch is right but for the octave."""

    def named(self, note: Note) -> int | None:
        return None if note.pitch is None else note.pitch % OCTAVE


class VelocityAccuracy(NoteAccuracy):
    """Share of notes whose velocity is named exactly."""

    def named(self, note: Note) -> int | None:
        return note.velocity


class InstrumentAccuracy(NoteAccuracy):
    """Share of notes whose instrument is named."""

    def named(self, note: Note) -> str | None:
        return note.instrument


class QualityPrecision(MeanAveragePrecision):
    """Macro average precision of the qualities, over 0/1 decisions."""

    def items(self, text: str) -> frozenset[str]:
        return parse_note(text).qualities


def _found(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return None if match is None else next(group for group in match.groups() if group is not None)
