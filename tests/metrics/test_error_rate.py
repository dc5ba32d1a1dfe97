import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.metrics.error_rate import (
    character_error_rate,
    num_edits,
    speakers_error_rate,
    word_error_rate,
    word_error_rate_official,
)

texts = st.lists(st.sampled_from(["a", "b", "c d", "d e f", ""]), min_size=1, max_size=6)


def en(count):
    return ["en"] * count


def test_edits_are_divided_by_all_reference_words_once():
    # One of three words wrong, none of one: 1 / 4, and not the mean of 1/3 and 0.
    assert word_error_rate(["a x c", "a"], ["a b c", "a"], en(2)) == 0.25


def test_capitals_and_commas_cost_only_officially():
    assert word_error_rate(["One, two."], ["one two"], en(1)) == 0.0
    assert word_error_rate_official(["One, two."], ["one two"], en(1)) == 1.0


def test_stamps_and_tags_are_no_words():
    assert (
        word_error_rate(["<|0.00|>one<|0.50|>two<|0.90|>"], ["<|0.00|>one<|0.40|>two<|1.00|>"], en(1)) == 0.0
    )


def test_chinese_is_counted_by_the_character():
    assert word_error_rate(["一二四"], ["一二三"], ["zh"]) == pytest.approx(1 / 3)
    assert character_error_rate(["abd"], ["abc"], en(1)) == pytest.approx(1 / 3)


def test_words_where_nothing_was_said_are_insertions():
    assert word_error_rate(["x y", "a"], ["", "a"], en(2)) == 2.0
    assert word_error_rate([""], [""], en(1)) == 0.0


def test_the_order_of_speakers_is_free_and_their_words_are_not():
    assert speakers_error_rate(["c d <sc> a b"], ["a b <sc> c d"], en(1)) == 0.0
    assert speakers_error_rate(["a b"], ["a b <sc> c d"], en(1)) == 0.5


@given(texts)
def test_identity_is_perfect(references):
    for metric in (word_error_rate, word_error_rate_official, character_error_rate, speakers_error_rate):
        assert metric(references, references, en(len(references))) == 0.0


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_edits_are_symmetric_and_bounded(one, other):
    assert num_edits(one, other) == num_edits(other, one) <= max(len(one), len(other))
