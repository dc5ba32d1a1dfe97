import math
from dataclasses import is_dataclass
from typing import Annotated, Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.ranges import Range, range_errors, unwrap_annotated
from audio_lm.config.schema import Recipe


def without_range(hint, key=""):
    """Yield the keys of a type that accept a number without a range."""
    allowed, plain = unwrap_annotated(hint)
    if allowed is not None:
        return
    if is_dataclass(plain):
        for name, inner in get_type_hints(plain, include_extras=True).items():
            yield from without_range(inner, f"{key}.{name}")
    elif plain in (int, float, complex, Any):
        yield key
    for inner in get_args(plain):
        yield from without_range(inner, key)


def test_every_number_of_the_schema_has_a_range():
    assert list(without_range(Recipe)) == []


@pytest.mark.parametrize(
    "hint",
    [int, float | None, dict[str, float], list[list[int]], tuple[float, int], dict[str, dict[str, Any]]],
)
def test_a_number_without_a_range_is_detected(hint):
    assert list(without_range(hint)), "control case"


@given(st.floats(allow_nan=True, allow_infinity=True), st.booleans(), st.booleans())
def test_a_range_accepts_values_between_its_ends(value, is_over, is_under):
    inside = (value > 0 if is_over else value >= 0) and (value < 1 if is_under else value <= 1)
    assert (Range(0, 1, is_over, is_under).expectation(value) is None) == inside


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_outside_every_range(value):
    for hint in (Annotated[float, Range(-1e300, 1e300)], Annotated[float, Range(0, 1)] | None):
        assert [key for key, _ in range_errors(hint, value, "a.b")] == ["a.b"]
    assert list(range_errors(Annotated[Any, Range(-1e300, 1e300)], {"x": [{"y": value}]}))


def test_numbers_are_checked_at_any_depth_and_named():
    hint = dict[str, list[list[Annotated[float, Range(0, 9)]]]]
    assert [key for key, _ in range_errors(hint, {"a": [[1, 2]], "b": [[1, -2]]}, "m")] == ["m.b"]
    pair = tuple[Annotated[float, Range(0, 1)], Annotated[int, Range(5, 6)]]
    assert not list(range_errors(pair, (1, 5)))
    assert list(range_errors(pair, (5, 5)))


def test_booleans_and_strings_are_not_checked_as_numbers():
    assert not list(range_errors(Annotated[Any, Range(5, 6)], {"a": True, "b": "7", "c": None}))


def test_a_number_of_many_digits_is_abbreviated_in_messages():
    [(_, message)] = range_errors(Annotated[int, Range(0, 1)], 10**400, "seed")
    assert "a number of 401 digits" in message
