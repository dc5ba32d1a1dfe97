"""Results of a sweep's trials as arrays, and as ``ratios.csv`` and ``metrics.csv``.

The two files have one line per trial, in the same order, with the trial's name in the column ``run``: the exchange format
of mixture regressions (Olmix, github.com/allenai/olmix). Anything that writes them can be fitted.

Shapes: N trials, K tasks or groups.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from audio_lm.common.errors import DataError
from audio_lm.common.files import write_text

RATIOS, METRICS, TRIALS = "ratios.csv", "metrics.csv", "trials.csv"
RUN = "run"
PURPOSE, SEED = "purpose", "seed"  # columns of trials.csv
Floats = np.ndarray[Any, np.dtype[np.float64]]
Curve = Sequence[tuple[int, float]]
"""Step and value of a metric during a trial."""


@dataclass(frozen=True)
class TrialTable:
    """Finished trials of a sweep."""

    runs: tuple[str, ...]
    """Names of the trials (N)."""

    tasks: tuple[str, ...]
    """Varied tasks or groups (K)."""

    shares: Floats
    """Shares of the varied part (N, K); each row sums to one."""

    metrics: Mapping[str, Floats]
    """Watched metric -> value of each trial (N); NaN where it was not measured."""

    purposes: tuple[str, ...] = ()
    """Purpose of each trial (N), as in ``sweep.trial``; empty for a table from files."""

    seeds: tuple[int, ...] = ()
    """Seed of each trial (N); empty for a table from files."""

    settings: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Varied dot-key -> value of each trial (N)."""

    curves: Mapping[str, Sequence[Curve]] = field(default_factory=dict)
    """Watched metric -> its values over the steps of each trial (N); empty where it was measured only at the end."""

    def __len__(self) -> int:
        """Number of trials."""
        return len(self.runs)

    def write(self, folder: Path) -> None:
        """Write ``ratios.csv`` and ``metrics.csv``; of a sweep also ``trials.csv``, with purpose and seed of each trial."""
        folder.mkdir(parents=True, exist_ok=True)
        ratios = dict(zip(self.tasks, self.shares.T, strict=True))
        for name, columns in ((RATIOS, ratios), (METRICS, self.metrics)):
            lines = [",".join((RUN, *map(_quoted, columns)))]
            lines += [
                ",".join((run, *(_number(column[row]) for column in columns.values())))
                for row, run in enumerate(self.runs)
            ]
            write_text(folder / name, "\n".join(lines) + "\n")
        if self.purposes:
            rows = zip(self.runs, self.purposes, map(str, self.seeds), strict=True)
            lines = [",".join((RUN, PURPOSE, SEED)), *(",".join(map(_quoted, row)) for row in rows)]
            write_text(folder / TRIALS, "\n".join(lines) + "\n")

    @classmethod
    def read(cls, ratios: Path, metrics: Path, trials: Path | None = None) -> Self:
        """Read a table from its files.

        Args:
            trials: purposes and seeds; None for a table that is not of a sweep.

        Raises:
            DataError: they are no tables of numbers, or their trials differ; names file and line.
        """
        runs, shares = _read(ratios)
        runs_of_metrics, values = _read(metrics)
        if runs != runs_of_metrics:
            other = next(
                (pair for pair in zip(runs, runs_of_metrics, strict=False) if pair[0] != pair[1]), None
            )
            found = (
                f"{other[0]!r} beside {other[1]!r}"
                if other
                else f"{len(runs)} and {len(runs_of_metrics)} lines"
            )
            raise DataError(f"{ratios} and {metrics}: {found} -- expected the same runs in the same order")
        stacked = np.stack(list(shares.values()), axis=1)
        total = stacked.sum(axis=1, keepdims=True)
        if wrong := [row for row, value in enumerate(total) if not value > 0 or stacked[row].min() < 0]:
            raise DataError(
                f"{ratios}:{wrong[0] + 2}: shares {stacked[wrong[0]].tolist()} -- expected numbers of 0 or more, not all 0"
            )
        purposes, seeds = _read_trials(trials, runs) if trials else ((), ())
        return cls(runs, tuple(shares), stacked / total, values, purposes, seeds)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _read(path: Path) -> tuple[tuple[str, ...], dict[str, Floats]]:
    """Names of the runs and columns of numbers; an empty cell is NaN."""
    header, *lines = _rows(path)
    try:
        columns = {
            name: np.array([float(line[at] or "nan") for line in lines])
            for at, name in enumerate(header)
            if at
        }
    except ValueError as error:
        raise DataError(f"{path}: {error} -- expected numbers, except in the first column") from None
    return tuple(line[0] for line in lines), columns


def _read_trials(path: Path, runs: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Purpose and seed of each run."""
    header, *lines = _rows(path)
    if header != [RUN, PURPOSE, SEED] or tuple(line[0] for line in lines) != runs:
        raise DataError(
            f"{path}: columns {header}, {len(lines)} lines -- expected {[RUN, PURPOSE, SEED]}, and the runs of {RATIOS} in "
            f"the same order"
        )
    try:
        return tuple(line[1] for line in lines), tuple(int(line[2]) for line in lines)
    except ValueError as error:
        raise DataError(f"{path}: {error} -- expected a whole number as seed") from None


def _rows(path: Path) -> list[list[str]]:
    """Header and lines, all of the same length."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: {error} -- expected a table with a header line and a line per run"
        ) from None
    if len(rows) < 2 or len(rows[0]) < 2:
        raise DataError(f"{path}: no runs -- expected a header line `{RUN},...` and a line per run")
    for number, line in enumerate(rows[1:], 2):
        if len(line) != len(rows[0]):
            raise DataError(
                f"{path}:{number}: {len(line)} columns -- expected {len(rows[0])}, as in the header"
            )
    return rows
