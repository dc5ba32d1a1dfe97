import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_lm.data.mixture.interleave import (
    MAX_PERIOD,
    ProportionalInterleaver,
    integer_shares,
    permute,
    splitmix64,
)

SHARES = st.lists(st.integers(0, 60), min_size=1, max_size=8).filter(any)


@given(SHARES)
def test_every_source_is_within_one_draw_of_its_share_at_every_position(shares):
    interleaver = ProportionalInterleaver(shares)
    sources, _ = interleaver.at(np.arange(3 * interleaver.period))
    for source, share in enumerate(shares):
        drawn_before = np.cumsum(sources == source)
        due = np.arange(1, len(sources) + 1) * share / interleaver.period
        assert np.abs(drawn_before - due).max() < 1


def test_shares_are_kept_for_a_million_positions():
    weights = np.random.default_rng(0).uniform(0.001, 1, 31)
    interleaver = ProportionalInterleaver(integer_shares(weights.tolist()))
    sources, draws = interleaver.at(np.arange(1_000_000))
    for source in range(31):
        places = np.flatnonzero(sources == source)
        due = (places + 1) * interleaver.shares[source] / interleaver.period
        assert np.abs(np.arange(1, len(places) + 1) - due).max() < 1
        assert (draws[places] == np.arange(len(places))).all()
    drawn = np.random.default_rng(0).choice(31, 100_000, p=interleaver.shares / interleaver.period)
    due = np.arange(1, 100_001) * interleaver.shares[0] / interleaver.period
    assert np.abs(np.cumsum(drawn == 0) - due).max() > 1  # independent random draws would be noticed


@given(SHARES, st.integers(0, 10**13))
def test_random_access_agrees_with_counting(shares, position):
    interleaver = ProportionalInterleaver(shares)
    before = interleaver.draws_before(position)
    assert before.sum() == position
    sources, draws = interleaver.at(np.arange(position, position + 50))
    for source, draw in zip(sources, draws, strict=True):
        assert before[source] == draw
        before[source] += 1
    assert interleaver.position_of(int(sources[0]), int(draws[0])) == position


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=31).filter(lambda weights: sum(weights) > 0))
@settings(max_examples=50)
def test_integer_shares_approximate_the_weights_and_keep_every_source(weights):
    shares = integer_shares(weights)
    assert sum(shares) <= MAX_PERIOD or sum(shares) == 1
    for share, weight in zip(shares, weights, strict=True):
        assert (share > 0) == (weight > 0)
        assert share / sum(shares) == pytest.approx(weight / sum(weights), abs=33 / MAX_PERIOD)


def test_tiny_weights_do_not_round_to_zero():
    shares = integer_shares([1.0, 1e-9, 0.0])
    assert shares[1] == 1
    assert shares[2] == 0


@given(st.integers(1, 5000), st.integers(0, 2**63))
@settings(max_examples=40)
def test_permute_is_a_permutation(size, key):
    numbers = np.arange(size)
    order = permute(numbers, np.full(size, size), np.full(size, key, dtype=np.uint64))
    assert sorted(order.tolist()) == numbers.tolist()


def test_keys_select_different_orders_without_correlation():
    size = 10_000
    numbers, sizes = np.arange(size), np.full(size, size)
    one, other = (permute(numbers, sizes, np.full(size, key, dtype=np.uint64)) for key in (1, 2))
    assert (one == other).mean() < 0.01
    assert abs(np.corrcoef(numbers, one)[0, 1]) < 0.05
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 0.05


def test_sizes_and_keys_apply_per_element():
    numbers, sizes = np.array([0, 0, 3]), np.array([1, 10, 5])
    keys = np.array([7, 8, 9], dtype=np.uint64)
    together = permute(numbers, sizes, keys)
    alone = [permute(numbers[i : i + 1], sizes[i : i + 1], keys[i : i + 1])[0] for i in range(3)]
    assert together.tolist() == alone
    assert (together < sizes).all()


def test_the_hash_depends_on_every_bit():
    words = splitmix64(np.uint64(1) << np.arange(64, dtype=np.uint64), np.uint64(0))
    assert len(set(words.tolist())) == 64
    assert 28 < np.mean([bin(word).count("1") for word in words.tolist()]) < 36
