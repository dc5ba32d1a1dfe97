import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.metrics.error_rate import (
    character_error_rate,
    num_edits,
    ordered_error_rate,
    speakers_error_rate,
    word_error_rate,
    word_error_rate_official,
)

turns = st.lists(st.text("abc ", max_size=5), min_size=1, max_size=3)
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


def test_some_languages_are_counted_by_the_character():
    assert word_error_rate(["一二四"], ["一二三"], ["zh"]) == pytest.approx(1 / 3)
    assert word_error_rate(["안녕"], ["안녕 하세요"], ["ko"]) == pytest.approx(3 / 5)
    assert character_error_rate(["abd"], ["abc"], en(1)) == pytest.approx(1 / 3)


def test_words_where_nothing_was_said_are_insertions():
    assert word_error_rate(["x y", "a"], ["", "a"], en(2)) == 2.0
    assert word_error_rate([""], [""], en(1)) == 0.0


def test_the_order_of_speakers_is_free_and_their_words_are_not():
    assert speakers_error_rate(["c d <sc> a b"], ["a b <sc> c d"], en(1)) == 0.0
    assert speakers_error_rate(["a b"], ["a b <sc> c d"], en(1)) == 0.5


def test_a_model_that_never_stops_changing_speakers_is_scored_too():
    assert speakers_error_rate(["x <sc> " * 9 + "a"], ["a <sc> b"], en(1)) == pytest.approx(9 / 2)


def test_turns_in_one_stream_are_perfect_when_nobody_asks_who_spoke():
    assert ordered_error_rate(["a b c d"], ["a b <sc> c d"], en(1)) == 0.0
    assert ordered_error_rate(["c d <sc> a b"], ["a b <sc> c d"], en(1)) == 0.0
    assert ordered_error_rate(["c d a b"], ["a b <sc> c d"], en(1)) == 1.0
    assert ordered_error_rate([""], ["a b <sc> c d"], en(1)) == 1.0


@given(turns, turns)
def test_the_cheapest_order_and_sharing_are_found(said, meant):
    """By trying all of them."""
    answer, reference = "<sc>".join(said), "<sc>".join(meant)
    words = max(1, len(" ".join(meant).split()))
    length = max(len(said), len(meant))
    rows = [[turn.split() for turn in side] + [[]] * (length - len(side)) for side in (said, meant)]
    orders = (sum(map(num_edits, order, rows[1])) for order in itertools.permutations(rows[0]))
    shares = (
        sum(
            num_edits(
                stream.split(),
                [w for turn, to in zip(meant, share, strict=True) if to == i for w in turn.split()],
            )
            for i, stream in enumerate(said)
        )
        for share in itertools.product(range(len(said)), repeat=len(meant))
    )
    if any(turn.split() for turn in meant):
        assert speakers_error_rate([answer], [reference], en(1)) == pytest.approx(min(orders) / words)
        assert ordered_error_rate([answer], [reference], en(1)) == pytest.approx(min(shares) / words)


@given(texts)
def test_identity_is_perfect(references):
    for metric in (
        word_error_rate,
        word_error_rate_official,
        character_error_rate,
        speakers_error_rate,
        ordered_error_rate,
    ):
        assert metric(references, references, en(len(references))) == 0.0


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_edits_are_symmetric_and_bounded(one, other):
    assert num_edits(one, other) == num_edits(other, one) <= max(len(one), len(other))


@pytest.mark.parametrize("metric", [word_error_rate, word_error_rate_official, speakers_error_rate])
@pytest.mark.parametrize("language", ["zh-CN", "Chinese", "cmn", "unknown"])
def test_chinese_is_scored_by_characters_whatever_it_is_called(metric, language):
    assert metric(["一二四"], ["一二三"], [language]) == metric(["一二四"], ["一二三"], ["zh"])
