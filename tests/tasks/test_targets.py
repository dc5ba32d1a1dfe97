import pytest

from audio_lm.common.errors import DataError
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
