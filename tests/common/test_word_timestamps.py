from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import DataError
from audio_lm.common.word_timestamps import SILENCE, Unit, parse_units, stamp, timed_units

SYMBOLS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda symbol: symbol.strip() and "<|" not in symbol
)


@st.composite
def aligned_units(draw):
    """Words on the 10 ms grid, with gaps of zero or at least 50 ms between them."""
    units, now = [], 0
    for symbol in draw(st.lists(SYMBOLS, max_size=8)):
        start = now + draw(st.one_of(st.just(0), st.integers(5, 100)))
        now = start + draw(st.integers(0, 100))
        units.append(Unit(symbol.strip(), start / 100, now / 100))
    return units


def text_of(units, num_seconds=30.0):
    """Target text of units with shared timestamps."""
    timed = timed_units(units, num_seconds=num_seconds)
    return stamp(0.0) + "".join(unit.symbol + stamp(unit.end) for unit in timed)


def words_of(units):
    return [unit for unit in units if unit.symbol != SILENCE]


@given(aligned_units())
def test_the_round_trip_keeps_symbols_and_times(units):
    assert words_of(parse_units(text_of(units))) == units


@given(aligned_units())
def test_units_share_timestamps_and_start_at_zero(units):
    text = text_of(units)
    parsed = parse_units(text)
    assert text.startswith("<|0.00|>")
    assert text.count("<|") - text.count(SILENCE) == len(parsed) + 1
    assert all(before.end == after.start for before, after in pairwise(parsed))


@given(st.lists(st.tuples(SYMBOLS, st.floats(0, 29), st.floats(0, 2)), max_size=8))
def test_any_alignment_gives_units_in_order_of_time(rows):
    units = [Unit(symbol, start, start + seconds) for symbol, start, seconds in rows]
    if any(unit.start > 29 for unit in units):
        return
    timed = timed_units(units, num_seconds=40.0)
    moments = [moment for unit in timed for moment in unit[1:]]
    assert moments == sorted(moments)
    assert all(0 <= moment <= 30 for moment in moments)
    assert [unit.symbol for unit in words_of(timed)] == [
        unit.symbol.strip() for unit in sorted(units, key=lambda unit: unit.start)
    ]


@given(
    st.text()
    | st.lists(st.sampled_from(["<|0.10|>", "<|30.01|>", "a", "<|sil|>", "<|", "|>", " "])).map("".join)
)
def test_the_parser_never_raises(text):
    assert all(unit.symbol for unit in parse_units(text))


def test_the_example_of_the_paper():
    units = [("she", 0.5, 0.67), ("sells", 0.67, 1.01)]
    assert text_of(units, 1.2) == "<|0.00|><|sil|><|0.50|>she<|0.67|>sells<|1.01|>"


@pytest.mark.parametrize(("gap", "is_silence"), [(0.04, False), (0.05, True)])
def test_a_gap_from_fifty_milliseconds_is_a_silence(gap, is_silence):
    text = text_of([("a", 0.0, 1.0), ("b", 1.0 + gap, 2.0)], 2.0)
    assert (SILENCE in text) == is_silence
    assert (f"{stamp(1.0 + gap)}b" in text) is True


def test_nothing_ends_after_the_clip():
    assert text_of([("a", 29.5, 31.0)], 31.0).endswith("a<|30.00|>")


def test_a_unit_after_the_end_of_the_clip_is_refused():
    with pytest.raises(DataError, match="'late' starts at 3"):
        text_of([("late", 3.0, 3.5)], 2.0)


def test_no_units_give_only_the_first_timestamp():
    assert text_of([], 2.0) == "<|0.00|>"
    assert parse_units("<|0.00|>") == []


def test_a_time_beyond_the_encoder_input_is_refused():
    with pytest.raises(DataError, match=r"30\.01 s has no timestamp token"):
        stamp(30.01)


def test_where_words_overlap_the_earlier_one_keeps_the_time():
    text = text_of([("a", 0.0, 1.0), ("b", 0.8, 1.5)], 2.0)
    assert text == "<|0.00|>a<|1.00|>b<|1.50|>"
