"""Inputs of a regression: shares, and columns for everything else that differs between trials.

Shapes: N trials, K tasks or groups, E further columns.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np

from audio_lm.sweep.table import Floats, TrialTable

Integers = np.ndarray[Any, np.dtype[np.int64]]

LOG_RATIO = 10.0
"""A number whose largest value is more than this many times its smallest one is taken as its logarithm."""


@dataclass(frozen=True)
class Points:
    """Inputs of a regression."""

    shares: Floats  # (N, K)
    extra: Floats  # (N, E), about -1 to 1

    def __len__(self) -> int:
        """Number of points."""
        return len(self.shares)

    def take(self, rows: Integers) -> "Points":
        """Points of some rows."""
        return Points(self.shares[rows], self.extra[rows])

    def columns(self) -> Floats:
        """Shares and further columns side by side (N, K + E)."""
        return np.hstack([self.shares, self.extra])


class ShareFeature(Protocol):
    """Known function of shares, such as the score of experts merged by shares."""

    def __call__(self, shares: Floats) -> Floats:
        """Value (N) at shares (N, K)."""
        ...


@dataclass(frozen=True)
class SettingColumns:
    """Columns of one varied dot-key: a number, or one column for each value that is none."""

    key: str
    values: tuple[Any, ...] = ()  # of one-hot columns
    is_log: bool = False
    center: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, key: str, values: Sequence[Any]) -> Self:
        """Encoding of the values that occur in a table."""
        if not all(isinstance(value, int | float) for value in values):
            return cls(key, tuple(sorted(set(map(str, values)))))
        smallest, largest = min(values), max(values)
        is_log = smallest > 0 and largest > LOG_RATIO * smallest
        numbers = np.log(values) if is_log else np.array(values, float)
        return cls(key, is_log=is_log, center=float(numbers.mean()), scale=float(np.ptp(numbers)) or 1.0)

    def encode(self, values: Sequence[Any]) -> Floats:
        """Columns (N, E) of values."""
        if self.values:
            return np.array([[float(str(value) == one) for one in self.values] for value in values])
        numbers = [math.log(value) if self.is_log else float(value) for value in values]
        return (np.array(numbers)[:, None] - self.center) / self.scale


@dataclass(frozen=True)
class Encoding:
    """Map of shares and settings to points."""

    settings: tuple[SettingColumns, ...] = ()
    feature: ShareFeature | None = None
    center: float = 0.0
    scale: float = 1.0
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Settings of points that are given by their shares only."""

    @classmethod
    def of(cls, table: TrialTable, feature: ShareFeature | None = None) -> Self:
        """Encoding of the settings that differ in a table, and of a known feature of shares."""
        columns = tuple(
            SettingColumns.of(key, values)
            for key, values in table.settings.items()
            if len(set(map(str, values))) > 1
        )
        if feature is None:
            return cls(columns)
        values = feature(table.shares)
        return cls(columns, feature, float(values.mean()), float(values.std()) or 1.0)

    def of_table(self, table: TrialTable) -> Points:
        """Points of a table's trials."""
        return self._points(table.shares, {one.key: table.settings[one.key] for one in self.settings})

    def of_shares(self, shares: Floats) -> Points:
        """Points with the fixed settings."""
        return self._points(shares, {one.key: [self.fixed[one.key]] * len(shares) for one in self.settings})

    def _points(self, shares: Floats, settings: Mapping[str, Sequence[Any]]) -> Points:
        columns = [one.encode(settings[one.key]) for one in self.settings]
        if self.feature is not None:
            columns.append((self.feature(shares)[:, None] - self.center) / self.scale)
        return Points(shares, np.hstack([np.empty((len(shares), 0)), *columns]))
