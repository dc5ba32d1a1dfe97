"""Ranges of numbers in the recipe schema, declared in their type annotations.

    steps: Annotated[int, Range(1, 1_000_000_000)]

A value that is not finite is outside every range. ``tests/common/test_ranges.py`` walks the schema
and fails for a number without a range.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Range:
    """Allowed interval of a number, ends included unless stated."""

    least: float
    most: float
    is_over: bool = False
    """True if ``least`` itself is excluded."""

    is_under: bool = False
    """True if ``most`` itself is excluded."""

    def expectation(self, value: float) -> str | None:
        """Text of the expected range for a value outside it; None for a value inside.

        >>> Range(1, 10).expectation(0), Range(0, 1, is_under=True).expectation(1), Range(0, 1).expectation(1)
        ('1 or more', 'under 1', None)
        """
        if isinstance(value, float) and not math.isfinite(value):
            return f"a finite number from {_short(self.least)} to {_short(self.most)}"
        if value < self.least or (self.is_over and value == self.least):
            return f"over {_short(self.least)}" if self.is_over else f"{_short(self.least)} or more"
        if value > self.most or (self.is_under and value == self.most):
            return f"under {_short(self.most)}" if self.is_under else f"{_short(self.most)} or less"
        return None


ONE_OR_MORE = "one or more"
OneOrMore = Annotated[list[str], ONE_OR_MORE]
"""A list of texts that may be written as one text; ``config.schema`` makes it a list."""

SINGLE = (str, int, float, bool)
Count = Annotated[int, Range(0, 10**9)]
Size = Annotated[int, Range(1, 10**9)]
Share = Annotated[float, Range(0, 1)]
Decay = Annotated[float, Range(0, 1, is_under=True)]
"""Also the type of a dropout probability."""

Weight = Annotated[float, Range(0, 1e12)]
Factor = Annotated[float, Range(0, 1e9, is_over=True)]


def range_errors(hint: Any, value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted key and message for each number outside its range.

    Args:
        hint: a type of the schema, with its annotations.
        value: its value, as plain dicts and lists.
    """
    allowed, plain_hint = unwrap_annotated(hint)
    if allowed is not None:
        yield from _outside(allowed, value, key)
    else:
        for inner in _inner(plain_hint, value, key):
            yield from range_errors(*inner)


def kind_errors(hint: Any, value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted key and message for each table, list or single value where another of the three is expected.

    Args:
        hint: a type of the schema.
        value: as read from YAML.
    """
    _, plain_hint = unwrap_annotated(hint)
    kind = get_origin(plain_hint)
    if is_dataclass(plain_hint) or kind is dict:
        expected = "table" if isinstance(value, list) else None
    elif kind in (list, tuple):
        expected = "list" if isinstance(value, dict) else None
    else:
        expected = "single value" if plain_hint in SINGLE and isinstance(value, dict | list) else None
    if expected is not None:
        yield key, f"`{key}` is a {'list' if isinstance(value, list) else 'table'}; it must be a {expected}"
    for inner in _inner(plain_hint, value, key):
        yield from kind_errors(*inner)


def unwrap_annotated(hint: Any) -> tuple[Range | None, Any]:
    """Split an annotated type into its range (None if it has none) and the plain type."""
    if get_origin(hint) is not Annotated:
        return None, hint
    return next((item for item in hint.__metadata__ if isinstance(item, Range)), None), hint.__origin__


def _inner(hint: Any, value: Any, key: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield type, value and key of the direct children of a table or list, or of each member of a union."""
    kind, of = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        yield from ((member, value, key) for member in of)
    elif is_dataclass(hint) and isinstance(value, dict):
        hints = get_type_hints(hint, include_extras=True)
        yield from ((inner, value.get(name), _joined(key, name)) for name, inner in hints.items())
    elif kind is dict and isinstance(value, dict):
        yield from ((of[1], inner, _joined(key, name)) for name, inner in value.items())
    elif kind in (list, tuple) and isinstance(value, list | tuple):
        yield from ((of[min(number, len(of) - 1)], inner, key) for number, inner in enumerate(value))


def _outside(allowed: Range, value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield key and message for each number outside a range, at any depth of an open table."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _outside(allowed, inner, _joined(key, name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _outside(allowed, inner, key)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        expected = allowed.expectation(value)
        if expected is not None:
            yield key, f"`{key}` is {_short(value)}; it must be {expected}"


def _joined(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _short(value: float) -> str:
    """Number as shown in a message.

    >>> _short(1), _short(0.001), _short(10**9), _short(10**400)
    ('1', '0.001', '1000000000', 'a number of 401 digits')
    """
    if isinstance(value, int) and abs(value) >= 10**30:
        return f"a number of {math.floor(math.log10(abs(value))) + 1} digits"
    return str(value) if isinstance(value, int) else f"{value:g}"
