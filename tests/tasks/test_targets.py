import random

import pytest

from audio_lm.common.errors import DataError
from audio_lm.metrics.intervals import parse_events, parse_turns
from audio_lm.metrics.notes import parse_note
from audio_lm.tasks.dummy_labels import DUMMY_LABELS, labels_for
from audio_lm.tasks.registry import TASKS
from audio_lm.tasks.task import Markup

ANSWERS = {
    "asr": ("Ada met Bob in Paris", None),
    "s2tt": ("guten Morgen", None),
    "osr": ("good morning <sc> hello there", None),
    "lid": ("<|en|>", "English"),
    "sgc": ("gender: female", None),
    "sap": ("age: twenties", None),
    "sv": ("yes", None),
    "srwt-en": (
        "<|0.00|><|sil|><|0.50|>she<|0.67|>sells<|1.01|>",
        "0.50-0.67 she, 0.67-1.01 sells",
    ),
    "sd": (
        "<|0.00|>speaker 1<|1.20|><|1.00|>speaker 2<|2.50|><|3.00|>speaker 2<|3.50|>",
        "0.00-1.20 speaker 1, 1.00-2.50 speaker 2, 3.00-3.50 speaker 2",
    ),
    "ser": (
        "<|startofentityvalue|>Ada<|endofentityvalue|><|startofentitytype|>person<|endofentitytype|>"
        " met Bob in "
        "<|startofentityvalue|>Paris<|endofentityvalue|><|startofentitytype|>place<|endofentitytype|>",
        "[Ada: person] met Bob in [Paris: place]",
    ),
    "ic": ("<|scenario|>music<|action|>play", "scenario: music, action: play"),
    "sf": ("<|entities|>room: kitchen, time: noon", "room: kitchen, time: noon"),
    "sec": ("siren sweep, beep", None),
    "sed": (
        "<|startofword|>beep<|endofword|><|0.00|><|0.50|><|delim|><|2.00|><|2.50|>"
        "<|startofword|>siren sweep<|endofword|><|0.20|><|1.00|>",
        "0.00-0.50 beep, 0.20-1.00 siren sweep, 2.00-2.50 beep",
    ),
    "sid": ("singer: nobody", None),
    "mgr": ("genre: waltz", None),
    "mr": ("title: Ode to Joy", None),
    "mna": (
        "<|pitch|><|midi_pitch_60|><|velocity|><|midi_velocity_90|>"
        "<|instrument|>flute<|sonic|>bright, fast_decay",
        "pitch 60, velocity 90, instrument flute, qualities bright, fast_decay",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_has_the_form_of_the_table(name):
    task = TASKS[name]
    tagged, plain = ANSWERS[name]
    assert task.answer(labels_for(task)) == tagged
    assert task.plain_answer(labels_for(task)) == (plain or tagged)


def test_text_that_looks_like_a_token_stays_text():
    labels = {**DUMMY_LABELS, "units": [["<|endoftext|>", 0.0, 0.5]], "slots": [["a", "<|en|>"]]}
    for name in ("srwt-en", "sf"):
        words = [part for part in TASKS[name].parts(labels) if not isinstance(part, Markup)]
        assert len(words) == 1, name
        assert "<|" in words[0], name


def test_an_entity_that_the_text_lacks_is_named():
    with pytest.raises(DataError, match="'Rome' does not occur"):
        TASKS["ser"].answer({**DUMMY_LABELS, "entities": [["Rome", "place"]]})


def test_a_pitch_outside_of_midi_is_refused():
    with pytest.raises(DataError, match="'pitch' is 128"):
        TASKS["mna"].answer({**DUMMY_LABELS, "pitch": 128})


def test_an_answer_without_slots_or_qualities_is_not_empty():
    labels = {**DUMMY_LABELS, "slots": [], "qualities": []}
    assert TASKS["sf"].answer(labels) == "<|entities|>none"
    assert TASKS["mna"].plain_answer(labels).endswith("qualities none")
    assert TASKS["mna"].answer(labels).endswith("flute<|sonic|>")


def spans_of(rng, names):
    """Spans on the grid of time stamps; several of a name, and overlaps, are possible."""
    starts = [rng.randint(0, 2000) for _ in range(rng.randint(1, 6))]
    return [(rng.choice(names), start / 100, (start + rng.randint(1, 900)) / 100) for start in starts]


@pytest.mark.parametrize("seed", range(8))
def test_metrics_read_the_labels_in_both_forms_of_an_answer(seed):
    """Otherwise a perfect model would not have a perfect score."""
    rng = random.Random(seed)
    events, turns = spans_of(rng, ["beep", "siren sweep", "dog"]), spans_of(rng, ["Ada", "Bob"])
    for answer in (TASKS["sed"].answer, TASKS["sed"].plain_answer):
        assert sorted(parse_events(answer({"language": "en", "event_times": events}))) == sorted(events)
    number_of = {}
    for speaker, *_ in sorted(turns, key=lambda turn: turn[1]):
        number_of.setdefault(speaker, f"speaker {len(number_of) + 1}")
    for answer in (TASKS["sd"].answer, TASKS["sd"].plain_answer):
        assert sorted(parse_turns(answer({"language": "en", "turns": turns}))) == sorted(
            (number_of[speaker], start, end) for speaker, start, end in turns
        )
    qualities = rng.sample(["bright", "dark", "long_release"], rng.randint(0, 3))
    labels = {
        "language": "en",
        "pitch": rng.randrange(128),
        "velocity": rng.randrange(128),
        "instrument": "organ",
        "qualities": qualities,
    }
    for answer in (TASKS["mna"].answer, TASKS["mna"].plain_answer):
        assert parse_note(answer(labels)) == (
            labels["pitch"], labels["velocity"], "organ", frozenset(qualities)
        )  # fmt: skip
