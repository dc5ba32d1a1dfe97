"""Notes and melodies with exact labels.

Tasks: note analysis (mna), instruments (mic), titles (mr), captions (mc), questions (mqa) and, as proxies, mood
(smer: major or minor) and genre (mgr: the accompanying rhythm). All tunes are in the public domain. Instruments are in
``notes.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from audio_lm.common.audio_units import Seconds, samples_in
from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.notes import (
    HIGHEST_PITCH,
    INSTRUMENTS,
    LOWEST_PITCH,
    VELOCITIES,
    make_note,
)
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.waves import (
    decay_envelope,
    gain_of,
    in_whole_frames,
    noise,
    oscillator_phase,
    sine,
)
from audio_lm.corpora.synthetic.wordings import Wordings, with_article
from audio_lm.corpora.synthetic.writing import CutWriter
from audio_lm.data.audio.decode import Wave

MUSIC_SUBSETS = ("notes", "melodies")

Tune = tuple[tuple[int, float], ...]
"""Degree of the scale (0 is the tonic) and number of beats of each note; 8 beats in total."""

TUNES: dict[str, Tune] = {
    "Frere Jacques": ((0, 1), (1, 1), (2, 1), (0, 1), (0, 1), (1, 1), (2, 1), (0, 1)),
    "Ode to Joy": ((2, 1), (2, 1), (3, 1), (4, 1), (4, 1), (3, 1), (2, 1), (1, 1)),
    "Twinkle Twinkle": ((0, 1), (0, 1), (4, 1), (4, 1), (5, 1), (5, 1), (4, 2)),
    "Mary Had a Little Lamb": ((2, 1), (1, 1), (0, 1), (1, 1), (2, 1), (2, 1), (2, 2)),
    "Row Your Boat": (
        *((0, 1), (0, 1), (0, 2 / 3), (1, 1 / 3), (2, 1)),
        *((2, 2 / 3), (1, 1 / 3), (2, 2 / 3), (3, 1 / 3), (4, 2)),
    ),
    "London Bridge": ((4, 1.5), (5, 0.5), (4, 1), (3, 1), (2, 1), (3, 1), (4, 2)),
}  # fmt: skip
NUM_BEATS = 8
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
MOOD_OF_MODE = {"major": "happy", "minor": "sad"}
SECONDS_PER_BEAT = {"fast": (0.19, 0.23), "slow": (0.29, 0.34)}

THUMPS_AND_TICKS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "march": ((0, 2, 4, 6), (1, 3, 5, 7)),
    "waltz": ((0, 3, 6), (1, 2, 4, 5, 7)),
    "swing": ((), (0, 1, 5 / 3, 2, 3, 11 / 3, 4, 5, 17 / 3, 6, 7, 23 / 3)),
}
"""Genre -> beats of the low drum, beats of the bright one."""

TITLE = Wordings(
    training=("Which tune is this?", "What is the name of the tune?", "Name this tune."),
    held_out=("What is this tune?", "What is the name of this?"),
)
TEMPO = Wordings(
    training=(
        "Is the tune slow or fast?",
        "Is it a slow or a fast tune?",
        "Say whether this is fast or slow.",
    ),
    held_out=("Is this a slow or a fast tune?", "Say whether it is slow or fast."),
)
MODE = Wordings(
    training=(
        "Is the tune in major or minor?",
        "Is this major or minor?",
        "Say whether the mode is minor or major.",
    ),
    held_out=("Is this tune major or minor?", "Say whether this is major or minor."),
)
INSTRUMENT = Wordings(
    training=(
        "Which instrument plays the tune?",
        "What instrument is it?",
        "Name the instrument in the music.",
    ),
    held_out=("Which instrument is it?", "Name the instrument in the tune."),
)
IS_INSTRUMENT = Wordings(
    training=("Is this {instrument}?", "Do you hear {instrument}?", "Is the tune played on {instrument}?"),
    held_out=("Do you hear the tune on {instrument}?", "Is this played on {instrument}?"),
)


@dataclass(frozen=True)
class Melody:
    """Parameters of a melody."""

    title: str
    mode: str
    tempo: str
    genre: str
    instrument: str
    tonic: int

    @property
    def notes(self) -> list[tuple[int, float, float]]:
        """MIDI pitch, first beat and number of beats of each note."""
        scale, beat, notes = SCALES[self.mode], 0.0, []
        for degree, num_beats in TUNES[self.title]:
            notes.append((self.tonic + scale[degree % 7] + 12 * (degree // 7), beat, num_beats))
            beat += num_beats
        return notes

    @property
    def caption(self) -> str:
        """Caption of the melody."""
        return f"{self.title} played on {with_article(self.instrument)}, {self.tempo} and in {self.mode}"


def write_music(writer: CutWriter, *, clips: Mapping[str, int], seed: int) -> None:
    """Write the subsets of ``MUSIC_SUBSETS`` in three splits.

    Args:
        clips: number of training clips of each subset (absent or 0: not written), and of
            validation and test clips of every subset under ``validation`` and ``test``.
    """
    write_one = {"notes": _write_note, "melodies": _write_melody}
    for subset in MUSIC_SUBSETS:
        for split in SPLITS if clips.get(subset, 0) else ():
            for number in range(clips[subset if split == "train" else split]):
                write_one[subset](
                    writer, f"{subset}-{split}", number, SplitRandom(split, seed, subset, number)
                )


def melody_question(melody: Melody, random: SplitRandom) -> tuple[str, str]:
    """Draw a question about the melody, with its answer."""
    kind = random.choice(("title", "tempo", "mode", "instrument", "is instrument"))
    if kind == "is instrument":
        is_it = random.bernoulli(0.5)
        others = [name for name in INSTRUMENTS if name != melody.instrument]
        instrument = melody.instrument if is_it else random.choice(others)
        return IS_INSTRUMENT.choose(random, instrument=with_article(instrument)), "yes" if is_it else "no"
    wordings = {"title": TITLE, "tempo": TEMPO, "mode": MODE, "instrument": INSTRUMENT}[kind]
    return wordings.choose(random), str(getattr(melody, kind))


def render_melody(melody: Melody, seconds_per_beat: Seconds, random: SplitRandom) -> Wave:
    """Synthesize the tune and its rhythm; each note overlaps the next by 50 ms."""
    wave = _drums(melody.genre, seconds_per_beat, random)
    instrument_seed, note_of_kind = random.integer(0, 2**31), dict[tuple[int, int], Wave]()
    for pitch, beat, num_beats in melody.notes:
        start = samples_in(beat * seconds_per_beat)
        num_note = min(samples_in(num_beats * seconds_per_beat + 0.05), len(wave) - start)
        if (pitch, num_note) not in note_of_kind:  # repeated notes sound the same
            same = SplitRandom(random.split, instrument_seed)
            note_of_kind[pitch, num_note] = 0.6 * make_note(pitch, 110, melody.instrument, (), num_note, same)
        wave[start : start + num_note] += note_of_kind[pitch, num_note]
    return wave * np.float32(gain_of(random.uniform(-8, -3)))


def _write_note(writer: CutWriter, subset_split: str, number: int, random: SplitRandom) -> None:
    """Write a note; all pairs of pitch and instrument are equally frequent."""
    num_pitches = HIGHEST_PITCH - LOWEST_PITCH + 1
    pitch = LOWEST_PITCH + number % num_pitches
    instrument = tuple(INSTRUMENTS)[number // num_pitches % len(INSTRUMENTS)]
    velocity, qualities = random.choice(VELOCITIES), _qualities(random)
    num_samples = in_whole_frames(random.uniform(0.6, 1.2))
    wave = make_note(pitch, velocity, instrument, qualities, num_samples, random)
    wave = wave * np.float32(gain_of(random.uniform(-1.0, -0.2)))
    background = noise(num_samples, random.rng, slope=random.uniform(-4, 2))
    labels = {
        "language": "unknown",
        "instrument": instrument,
        "pitch": pitch,
        "velocity": velocity,
        "qualities": qualities,
    }
    wave = wave + background * np.float32(gain_of(random.uniform(-84, -72)))
    writer.add(subset_split, wave, labels | {"honesty": dict.fromkeys(labels, "exact")})


def _write_melody(writer: CutWriter, subset_split: str, number: int, random: SplitRandom) -> None:
    melody = Melody(
        title=tuple(TUNES)[number % len(TUNES)],
        mode=random.choice(tuple(SCALES)),
        tempo=random.choice(tuple(SECONDS_PER_BEAT)),
        genre=random.choice(tuple(THUMPS_AND_TICKS)),
        instrument=random.choice(tuple(INSTRUMENTS)),
        tonic=random.integer(52, 62),
    )
    seconds_per_beat = random.uniform(*SECONDS_PER_BEAT[melody.tempo])
    question, answer = melody_question(melody, random)
    labels: dict[str, Any] = {
        "language": "unknown",
        "title": melody.title,
        "instrument": melody.instrument,
        "caption": melody.caption,
        "question": question,
        "answer": answer,
    }
    honesty = dict.fromkeys(labels, "exact") | {"mood": "proxy", "genre": "proxy"}
    labels |= {"mood": MOOD_OF_MODE[melody.mode], "genre": melody.genre, "honesty": honesty}
    writer.add(subset_split, render_melody(melody, seconds_per_beat, random), labels)


def _qualities(random: SplitRandom) -> list[str]:
    """Draw one or more qualities that do not contradict each other."""
    qualities = [random.choice(("bright", "dark"))]
    qualities += random.choice((["fast_decay"], ["long_release"], []))
    return qualities + [quality for quality in ("percussive", "reverb", "tremolo") if random.bernoulli(0.25)]


def _drums(genre: str, seconds_per_beat: Seconds, random: SplitRandom) -> Wave:
    """Synthesize the rhythm, as long as the tune."""
    wave = np.zeros(in_whole_frames(NUM_BEATS * seconds_per_beat), dtype=np.float32)
    num_thump, num_tick = samples_in(0.09), samples_in(0.03)
    thump = sine(oscillator_phase(random.log_uniform(60, 80), num_thump)) * decay_envelope(
        num_thump, decibels=30
    )
    hiss = noise(num_tick, random.rng, low_hz=random.log_uniform(4_000, 5_500)) * decay_envelope(
        num_tick, decibels=40
    )
    for beats, drum in zip(THUMPS_AND_TICKS[genre], (0.5 * thump, 0.15 * hiss), strict=True):
        for beat in beats:
            start = samples_in(beat * seconds_per_beat)
            wave[start : start + len(drum)] += drum[: len(wave) - start]
    return wave
