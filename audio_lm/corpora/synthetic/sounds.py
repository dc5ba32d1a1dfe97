"""Sound clips with exact labels: single events, sequences of events, scenes, questions.

Tasks: classification (sec), detection (sed), captioning (aac), question answering (aqa) and, as a proxy, scenes (asc).
Events are generated in ``events.py``. Captions and answers follow from labels by rule.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from audio_lm.common.audio_units import SAMPLES_PER_FRAME, Seconds, samples_in
from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.events import EVENTS, SCENES, make_event, make_scene
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.waves import gain_of, in_whole_frames, noise
from audio_lm.corpora.synthetic.wordings import Wordings, with_article
from audio_lm.corpora.synthetic.writing import CutWriter
from audio_lm.data.audio.decode import Wave

SOUND_SUBSETS = ("events", "detection", "scenes", "sound_questions")
LONG_SILENCE: Seconds = 0.2  # shorter ones are not mentioned in captions
NUMBERS = ("zero", "one", "two", "three", "four")

PRESENT = Wordings(
    training=("Is there {sound}?", "Can you hear {sound}?", "Do you hear {sound} in the audio?"),
    held_out=("Can you hear {sound} in the audio?", "Is there {sound} in the audio?"),
)
HOW_MANY = Wordings(
    training=("How many sounds are there?", "How many sounds do you hear?", "Count the sounds in the audio."),
    held_out=("How many sounds are there in the audio?", "Count the sounds you hear."),
)
FIRST = Wordings(
    training=("Which sound comes first?", "What do you hear first?", "Name the first sound in the audio."),
    held_out=("Which sound do you hear first?", "Name the sound you hear first."),
)
LAST = Wordings(
    training=("Which sound comes last?", "What do you hear last?", "Name the last sound in the audio."),
    held_out=("Which sound do you hear last?", "Name the sound you hear last."),
)


class TimedEvent(NamedTuple):
    """Sound event with start and end."""

    name: str
    start: Seconds
    end: Seconds


def write_sounds(writer: CutWriter, *, clips: Mapping[str, int], seed: int) -> None:
    """Write the subsets of ``SOUND_SUBSETS`` in three splits.

    Args:
        clips: number of training clips of each subset (absent or 0: not written), and of
            validation and test clips of every subset under ``validation`` and ``test``.
    """
    write_one = {
        "events": _write_event,
        "detection": _write_detection,
        "scenes": _write_scene,
        "sound_questions": _write_question,
    }
    for subset in SOUND_SUBSETS:
        for split in SPLITS if clips.get(subset, 0) else ():
            for number in range(clips[subset if split == "train" else split]):
                write_one[subset](
                    writer, f"{subset}-{split}", number, SplitRandom(split, seed, subset, number)
                )


def caption_of(events: Sequence[TimedEvent], num_seconds: Seconds) -> str:
    """Caption of a sequence of events.

    >>> caption_of([TimedEvent("beep", 0.5, 1.0), TimedEvent("beep", 1.1, 1.5), TimedEvent("crackle", 1.6, 2.0)], 2.0)
    'silence, then two beeps, then a crackle'
    """
    parts = [_with_count(name, len(list(group))) for name, group in groupby(event.name for event in events)]
    if events[0].start >= LONG_SILENCE:
        parts.insert(0, "silence")
    if num_seconds - events[-1].end >= LONG_SILENCE:
        parts.append("silence")
    return ", then ".join(parts)


def events_question(events: Sequence[TimedEvent], random: SplitRandom) -> tuple[str, str]:
    """Draw a question about the events, with its answer."""
    names = [event.name for event in events]
    kind = random.choice(("present", "present", "how many", "first", "last"))
    if kind == "how many":
        return HOW_MANY.choose(random), NUMBERS[len(names)]
    if kind == "first":
        return FIRST.choose(random), names[0]
    if kind == "last":
        return LAST.choose(random), names[-1]
    is_there = random.bernoulli(0.5)
    sound = random.choice(names if is_there else [name for name in EVENTS if name not in names])
    return PRESENT.choose(random, sound=with_article(sound)), "yes" if is_there else "no"


def _write_event(writer: CutWriter, subset_split: str, number: int, random: SplitRandom) -> None:
    """Write a single event; all classes are equally frequent."""
    name = tuple(EVENTS)[number % len(EVENTS)]
    num_event = in_whole_frames(random.uniform(0.6, 1.5))
    num_samples = num_event + in_whole_frames(random.uniform(0.2, 0.5))
    gap = random.integer(0, (num_samples - num_event) // SAMPLES_PER_FRAME) * SAMPLES_PER_FRAME
    events = [_timed_event(name, gap, gap + num_event)]
    writer.add(subset_split, _mix_events(events, num_samples, random), _labels(events, num_samples))


def _write_detection(writer: CutWriter, subset_split: str, number: int, random: SplitRandom) -> None:
    del number
    events, num_samples = _sequence(random.integer(2, 3), random)
    writer.add(subset_split, _mix_events(events, num_samples, random), _labels(events, num_samples))


def _write_scene(writer: CutWriter, subset_split: str, number: int, random: SplitRandom) -> None:
    name = tuple(SCENES)[number % len(SCENES)]
    wave = make_scene(name, in_whole_frames(random.uniform(1.5, 2.5)), random) * np.float32(
        gain_of(random.uniform(-14, -3))
    )
    labels = {"language": "unknown", "scene": name, "honesty": {"language": "exact", "scene": "proxy"}}
    writer.add(subset_split, wave, labels)


def _write_question(writer: CutWriter, subset_split: str, number: int, random: SplitRandom) -> None:
    del number
    events, num_samples = _sequence(random.integer(1, 3), random)
    question, answer = events_question(events, random)
    labels = _labels(events, num_samples)
    labels |= {"question": question, "answer": answer}
    labels["honesty"] |= {"question": "exact", "answer": "exact"}
    writer.add(subset_split, _mix_events(events, num_samples, random), labels)


def _sequence(num_events: int, random: SplitRandom) -> tuple[list[TimedEvent], int]:
    """Draw a sequence of events with gaps of at least 100 ms, and the number of samples of the clip.

    One time in four the first event is repeated, so that questions about counts are not trivial.
    """
    names = random.choose_distinct(tuple(EVENTS), num_events)
    if num_events > 1 and random.bernoulli(0.25):
        names[1] = names[0]
    events, now = [], in_whole_frames(random.uniform(0.0, 0.4))
    for name in names:
        num_event = in_whole_frames(random.uniform(0.35, 0.7))
        events.append(_timed_event(name, now, now + num_event))
        now += num_event + in_whole_frames(random.uniform(0.1, 0.3))
    return events, now + in_whole_frames(random.uniform(0.0, 0.3))


def _mix_events(events: Sequence[TimedEvent], num_samples: int, random: SplitRandom) -> Wave:
    """Mix the events, each at a random level, with faint background noise."""
    background = noise(num_samples, random.rng, slope=random.uniform(-6, 3))
    wave = background * np.float32(gain_of(random.uniform(-72, -58)))
    for name, start, end in events:
        first, last = samples_in(start), samples_in(end)
        gain = np.float32(gain_of(random.uniform(-12, -2)))
        wave[first:last] += gain * make_event(name, last - first, random)
    return wave


def _labels(events: Sequence[TimedEvent], num_samples: int) -> dict[str, Any]:
    labels: dict[str, Any] = {
        "language": "unknown",
        "events": list(dict.fromkeys(event.name for event in events)),
        "event_times": [list(event) for event in events],
        "caption": caption_of(events, num_samples / samples_in(1.0)),
    }
    return labels | {"honesty": dict.fromkeys(labels, "exact")}


def _timed_event(name: str, start: int, end: int) -> TimedEvent:
    """Convert samples (whole frames) to seconds."""
    return TimedEvent(name, round(start / samples_in(1.0), 2), round(end / samples_in(1.0), 2))


def _with_count(name: str, num: int) -> str:
    """Name of a sound with article or number; "up" and "down" stay at the end.

    >>> _with_count("chirp up", 2)
    'two chirps up'
    """
    if num == 1:
        return with_article(name)
    head, *direction = name.rsplit(" ", 1) if name.endswith((" up", " down")) else (name,)
    return " ".join([NUMBERS[num], f"{head}s", *direction])
