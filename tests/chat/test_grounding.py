import re

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.chat.grounding import Span, find_words, ground, words_in
from audio_lm.common.errors import UserError
from audio_lm.common.word_timestamps import SILENCE, STAMP, Unit, parse_units
from audio_lm.run.ask import AnsweringModel, ClipOptions

TEXT = "<|0.00|><|sil|><|0.30|>one<|0.60|>Two,<|0.80|><|sil|><|1.00|>two<|1.30|>one<|1.50|>two three<|2.10|>one two<|2.50|>"


@pytest.fixture
def stamped(loaded) -> AnsweringModel:
    """A tiny model with random weights that is taken to be trained with word time stamps."""
    from dataclasses import replace

    return AnsweringModel(replace(loaded, prompt="tags", tasks=("asr", "srwt-en")))


@pytest.fixture
def clip(tmp_path, make_wave):
    path = tmp_path / "clip.wav"
    soundfile.write(path, make_wave(seconds=1.5), 16_000)
    return path


@pytest.mark.parametrize(
    ("wanted", "spans"),
    [
        ("one", [("one", 0.3, 0.6), ("one", 1.3, 1.5), ("one two", 2.1, 2.5)]),
        ("ONE two!", [("one Two,", 0.3, 0.8), ("one two three", 1.3, 2.1), ("one two", 2.1, 2.5)]),
        ("two two", [("Two, two", 0.6, 1.3)]),
        ("three", [("two three", 1.5, 2.1)]),
        ("four", []),
        ("on", []),
    ],
)
def test_every_occurrence_of_a_word_or_phrase_is_found(wanted, spans):
    assert list(find_words(parse_units(TEXT), wanted)) == [Span(*span) for span in spans]


def test_occurrences_do_not_overlap():
    units = parse_units("<|0.00|>one<|0.10|>one<|0.20|>one<|0.30|>")
    assert [span.start for span in find_words(units, "one one")] == [0.0]


def test_chinese_words_are_found_by_characters():
    units = parse_units("<|0.00|>你<|0.20|>好<|0.40|>吗<|0.60|>")
    assert list(find_words(units, "好吗")) == [Span("好 吗", 0.2, 0.6)]
    assert words_in("don't stop - it's 3.5") == ["don't", "stop", "it's", "3", "5"]


def test_stamps_of_an_answer_increase_and_lie_within_the_clip(stamped, clip):
    """A model with random weights writes stamps in any order."""
    vocabulary = stamped.loaded.vocabulary
    new = stamped.loaded.model.new_tokens.output.data
    new += 3 * np.sign(float(new.mean())) * new.std()  # stamps are more probable than words
    options = ClipOptions(max_new_tokens=40)
    (free,) = stamped.ask([clip], task="srwt-en", options=options)
    free_times = [float(time) for time in STAMP.findall(free.text)]
    found = ground(stamped, clip, "one", options=options)
    (answer,) = stamped.ask(
        [clip], task="srwt-en", options=ClipOptions(max_new_tokens=40, ordered_stamps=True)
    )
    times = [float(time) for time in STAMP.findall(answer.text)]
    assert free_times != sorted(set(free_times)), "the unconstrained answer is no test"
    assert times == sorted(set(times))
    assert all(time <= 1.5 for time in times)
    assert list(found.units) == parse_units(answer.text)
    assert vocabulary.text(vocabulary.ids(answer.text, is_markup=True)) == answer.text


def test_a_result_is_complete_as_json(stamped, clip):
    record = ground(stamped, clip, "one").as_record()
    assert list(record) == ["audio", "wanted", "transcript", "spans", "units"]


def test_mistakes_are_one_sentence(loaded, stamped, clip):
    with pytest.raises(UserError, match="has no words to find"):
        ground(stamped, clip, " ?! ")
    with pytest.raises(UserError, match="was trained with chat -- expected srwt-en or srwt-zh"):
        ground(AnsweringModel(loaded), clip, "one")


@given(
    st.lists(st.sampled_from(["a", "b", SILENCE]), max_size=12),
    st.lists(st.sampled_from("ab"), min_size=1, max_size=3),
)
def test_occurrences_are_those_of_a_regular_expression_without_silences(symbols, target):
    units = [Unit(symbol, float(place), float(place + 1)) for place, symbol in enumerate(symbols)]
    words = [unit for unit in units if unit.symbol != SILENCE]
    text = "".join(unit.symbol for unit in words)
    expected = [
        Span(" ".join(target), words[match.start()].start, words[match.end() - 1].end)
        for match in re.finditer("".join(target), text)
    ]
    assert list(find_words(units, " ".join(target))) == expected
