"""Which source is heard at which position, and which of its rows: closed forms without a state.

A position is a number from 0 to the end of the run. What stands there follows from
the position alone, so any process can look up any position, and nothing can be
lost, fetched ahead or bound to a number of ranks.

Shapes: P positions, S sources.
"""

import heapq
from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np

MAX_PERIOD = 1 << 17
"""Weights whose exact period is longer are rounded to shares of this many positions, none of them to zero."""

NUM_ROUNDS = 4  # of the Feistel network; more make no difference to an order

Integers = np.ndarray[Any, np.dtype[np.int64]]
Words = np.ndarray[Any, np.dtype[np.uint64]]


def integer_shares(weights: Sequence[float]) -> list[int]:
    """Weights as positions of a period, as exact as the period can be.

    Decimal weights with a short common denominator are kept exactly. Others are
    rounded by the largest remainder, and the smallest weight keeps one position.

    Args:
        weights: not negative, one of them positive.

    >>> integer_shares([0.5, 0.3, 0.2]), integer_shares([1, 0, 2])
    ([5, 3, 2], [1, 0, 2])
    """
    exact = [Fraction(repr(float(weight))) for weight in weights]
    denominator = lcm(*(share.denominator for share in exact))
    whole = [int(share * denominator) for share in exact]
    divisor = int(np.gcd.reduce(np.array(whole, dtype=object)))
    whole = [share // divisor for share in whole]
    if sum(whole) <= MAX_PERIOD:
        return whole
    return _rounded(exact)


def _rounded(exact: Sequence[Fraction]) -> list[int]:
    drawn = [number for number, share in enumerate(exact) if share > 0]
    room = MAX_PERIOD - len(drawn)  # one each, before anything is shared out
    quotas = {number: exact[number] / sum(exact) * room for number in drawn}
    whole = [int(quotas[number]) + 1 if number in quotas else 0 for number in range(len(exact))]
    by_remainder = sorted(drawn, key=lambda number: (int(quotas[number]) - quotas[number], number))
    for number in by_remainder[: MAX_PERIOD - sum(whole)]:
        whole[number] += 1
    return whole


class ProportionalInterleaver:
    """Takes turns so that every source is within one position of its share, at every position, for ever.

    One period is written out once: each turn of a source has a first and a last
    position at which it may be taken, and of those that may be taken the most
    urgent is. The period then repeats.

    Args:
        shares: positions of each source in one period.
    """

    def __init__(self, shares: Sequence[int]) -> None:
        self.shares = np.array(shares, dtype=np.int64)
        self.period = int(self.shares.sum())
        self.source_of = _taking_turns(shares)
        self.turn_of = np.zeros(self.period, dtype=np.int64)
        for source in np.flatnonzero(self.shares):
            places = self.source_of == source
            self.turn_of[places] = np.arange(self.shares[source])

    def at(self, positions_P: Integers) -> tuple[Integers, Integers]:
        """The source at each position, and how often it was heard before."""
        rounds_P, places_P = np.divmod(positions_P, self.period)
        sources_P = self.source_of[places_P]
        return sources_P, rounds_P * self.shares[sources_P] + self.turn_of[places_P]

    def draws_before(self, position: int) -> Integers:
        """How often each source was heard before a position."""
        rounds, place = divmod(position, self.period)
        draws_S = np.bincount(self.source_of[:place], minlength=len(self.shares))
        return rounds * self.shares + draws_S

    def position_of(self, source: int, turn: int) -> int:
        """Where a source is heard for the ``turn``-th time, from 0."""
        rounds, rest = divmod(turn, int(self.shares[source]))
        return rounds * self.period + int(np.flatnonzero(self.source_of == source)[rest])


def _taking_turns(shares: Sequence[int]) -> Integers:
    """Earliest deadline first over unit turns: turn j of a share w has the window [floor(j/w), ceil((j+1)/w)).

    Source: Baruah et al., "Proportionate progress", Algorithmica 15 (1996): windows of this
    form can always be kept, and a schedule that keeps them is never off by a whole turn.
    """
    period = sum(shares)
    turns = [(0, -(-period // share), source, 0) for source, share in enumerate(shares) if share]
    waiting = sorted(turns)  # (first place, deadline, source, turn): may not be taken yet
    ready: list[tuple[int, int, int]] = []
    order = np.empty(period, dtype=np.int64)
    for place in range(period):
        while waiting and waiting[0][0] <= place:
            _, deadline, source, turn = heapq.heappop(waiting)
            heapq.heappush(ready, (deadline, source, turn))
        _, source, turn = heapq.heappop(ready)
        order[place] = source
        following, share = turn + 1, shares[source]
        if following < share:
            deadline = -(-(following + 1) * period // share)
            heapq.heappush(waiting, (following * period // share, deadline, source, following))
    return order


def permute(numbers_P: Integers, sizes_P: Integers, keys_P: Words) -> Integers:
    """Each number under a permutation of ``range(size)`` that its key chooses.

    A Feistel network over the next power of four, walked until it is back inside the
    range: one to one without a table.

    Args:
        numbers_P: from 0 to below the size.
    """
    half_P = _half_bits(sizes_P)
    mask_P = (np.uint64(1) << half_P) - np.uint64(1)
    found_P = numbers_P.astype(np.uint64)
    limit_P = sizes_P.astype(np.uint64)
    outside_P = np.arange(len(numbers_P))
    while len(outside_P):
        walked = _feistel(found_P[outside_P], half_P[outside_P], mask_P[outside_P], keys_P[outside_P])
        found_P[outside_P] = walked
        outside_P = outside_P[walked >= limit_P[outside_P]]
    return found_P.astype(np.int64)


def _half_bits(sizes_P: Integers) -> Words:
    """Half the bits of the smallest even number of bits that counts to a size."""
    bits_P = np.ceil(np.log2(np.maximum(sizes_P, 2))).astype(np.uint64)
    return (bits_P + np.uint64(1)) // np.uint64(2)


def _feistel(numbers_P: Words, half_P: Words, mask_P: Words, keys_P: Words) -> Words:
    left_P, right_P = numbers_P >> half_P, numbers_P & mask_P
    for number in range(NUM_ROUNDS):
        turned_P = splitmix64(right_P ^ keys_P, np.uint64(number)) & mask_P
        left_P, right_P = right_P, left_P ^ turned_P
    return (left_P << half_P) | right_P


def splitmix64(values_P: Words, salt_P: Words | np.uint64) -> Words:
    """64 bits that depend on every bit of both; the finaliser of SplitMix64 (Steele et al., OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        word_P = values_P + (np.asarray(salt_P, dtype=np.uint64) + np.uint64(1)) * np.uint64(
            0x9E3779B97F4A7C15
        )
        word_P = (word_P ^ (word_P >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word_P = (word_P ^ (word_P >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return word_P ^ (word_P >> np.uint64(31))
