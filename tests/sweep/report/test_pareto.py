import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.sweep.report.pareto import metric_pairs, pareto_front

tables = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12).map(
    lambda rows: np.array(rows, float)
)


def dominates(one, other):
    return bool(np.all(one <= other) and np.any(one < other))


@given(tables)
def test_a_row_is_on_the_front_unless_another_one_dominates_it(values):
    front = pareto_front(values)
    for row, own in enumerate(values):
        assert (row in front) != any(dominates(other, own) for other in values), row


@given(tables, st.integers(0, 4))
def test_a_margin_only_adds_rows_to_the_front(values, margin):
    assert set(pareto_front(values)) <= set(pareto_front(values, np.full(2, float(margin))))


def test_a_row_without_a_value_is_not_on_the_front():
    assert pareto_front(np.array([[np.nan, 0.0], [1.0, 1.0]])) == [1]


def test_every_pair_of_metrics_occurs_once(view):
    assert {frozenset(pair) for pair in metric_pairs(view)} == set(
        map(frozenset, itertools.combinations(view.metrics, 2))
    )
