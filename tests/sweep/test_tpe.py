"""Coordinates of shares, and TPE fed from a ledger."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.sweep.tpe import Simplex

BOUNDED = Simplex("abc", (0.1, 0.0, 0.2), (0.6, 0.5, 0.9))
FREE = Simplex("abcd", (0,) * 4, (1,) * 4)
parts = st.floats(0, 1)


@given(parts, parts)
def test_every_point_is_within_the_bounds_and_sums_to_one(first, second):
    shares = BOUNDED.shares([first, second])
    assert sum(shares.values()) == pytest.approx(1)
    for name, low, high in zip("abc", BOUNDED.low, BOUNDED.high, strict=True):
        assert low - 1e-9 <= shares[name] <= high + 1e-9


@given(parts, parts, parts)
def test_shares_and_coordinates_are_inverse(first, second, third):
    for simplex in (BOUNDED, FREE):
        shares = simplex.shares([first, second, third][: len(simplex.names) - 1])
        again = simplex.shares(simplex.coordinates(shares))
        assert again == pytest.approx(shares, abs=1e-6)


def test_uniform_coordinates_are_uniform_mixtures():
    """The mean share is 1/K and its variance that of the flat Dirichlet distribution, for every task."""
    points = np.random.default_rng(0).uniform(size=(20_000, 3))
    shares = np.array([[*FREE.shares(point).values()] for point in points])
    assert shares.mean(axis=0) == pytest.approx([0.25] * 4, abs=0.01)
    assert shares.var(axis=0) == pytest.approx([3 / 80] * 4, rel=0.05)


def test_a_point_outside_the_bounds_moves_to_their_edge():
    shares = BOUNDED.shares(BOUNDED.coordinates({"a": 1.0, "b": 0.0, "c": 0.0}))
    assert shares == pytest.approx({"a": 0.6, "b": 0.0, "c": 0.4})
