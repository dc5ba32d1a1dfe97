"""Space of a sweep: shares of tasks or groups on a simplex, and values of dot-keys; from a point to overrides of the recipe.

Shares are shares of the varied part and sum to one; the tasks that are not varied keep their share of the whole mixture.

Shapes: N points, K varied tasks or groups.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from audio_lm.data.config import MixtureConfig
from audio_lm.data.mixture.weights import ONE_GROUP, task_shares
from audio_lm.sweep.config import KeyConfig
from audio_lm.sweep.simplex import into_bounds
from audio_lm.sweep.table import Floats

LEAST_SHARE = 1e-6
"""Share of the whole mixture in place of zero: without a task, a tokenizer that the recipe trains would change, too."""

DIGITS = 6  # of a share in overrides and results
TOLERANCE = 1e-6


@dataclass(frozen=True)
class ShareSpace:
    """Simplex of the shares of tasks or groups of a stage's mixture, within bounds."""

    stage: str
    names: tuple[str, ...]
    """Varied tasks or groups (K)."""

    mixture: MixtureConfig
    """The stage's mixture in the base recipe."""

    low: tuple[float, ...]
    """Smallest share of the varied part (K)."""

    high: tuple[float, ...]
    """Largest share of the varied part (K)."""

    @property
    def bounds(self) -> Floats:
        """Smallest and largest share of the varied part (K, 2)."""
        return np.stack([np.array(self.low), np.array(self.high)], axis=1)

    @property
    def varies_groups(self) -> bool:
        """True if the names are groups, false if they are tasks."""
        return not set(self.names) <= self.mixture.weights.keys()

    @property
    def total(self) -> float:
        """Share of the varied part in the whole mixture."""
        return sum(self._in_mixture.values())

    @property
    def of_recipe(self) -> dict[str, float]:
        """Shares of the recipe's own weights."""
        return rounded_shares({name: share / self.total for name, share in self._in_mixture.items()})

    @property
    def _in_mixture(self) -> dict[str, float]:
        """Share of each varied task or group in the recipe's whole mixture."""
        shares, groups = _shares_of_tasks(self.mixture), self.mixture.groups
        if not self.varies_groups:
            return {name: shares.get(name, 0.0) for name in self.names}
        return {name: sum(shares.get(task, 0.0) for task in groups[name]) for name in self.names}

    def tasks_of(self, names: Sequence[str]) -> list[str]:
        """Tasks of some of the varied tasks or groups."""
        if not self.varies_groups:
            return [*names]
        return [task for name in names for task in self.mixture.groups[name]]

    def contains(self, shares: Mapping[str, float]) -> bool:
        """True if shares are within the bounds."""
        point = np.array([shares[name] for name in self.names])
        return bool(
            ((point >= np.array(self.low) - TOLERANCE) & (point <= np.array(self.high) + TOLERANCE)).all()
        )

    def nearest(self, shares: Mapping[str, float]) -> dict[str, float]:
        """The closest point within the bounds: excess is given to the others in proportion to their shares."""
        point = np.array([max(shares[name], 0.0) for name in self.names])
        inside = into_bounds((point / point.sum())[None], self.bounds)[0]
        return rounded_shares(dict(zip(self.names, inside.tolist(), strict=True)))

    def with_shares(self, shares: Mapping[str, float]) -> MixtureConfig:
        """The mixture of a point, with the same settings as ``overrides`` gives it."""
        weights, group_weights = self._weights(shares)
        return replace(
            self.mixture,
            weights=self.mixture.weights | weights,
            group_weights=self.mixture.group_weights | group_weights,
        )

    def overrides(self, shares: Mapping[str, float]) -> tuple[str, ...]:
        """Overrides of the recipe that set the shares of a point."""
        weights, group_weights = self._weights(shares)
        place = f"stages.{self.stage}.mixture"
        return (
            *(f"{place}.weights.{task}={weight!r}" for task, weight in weights.items()),
            *(f"{place}.group_weights.{group}={weight!r}" for group, weight in group_weights.items()),
        )

    def _weights(self, shares: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
        """Weights of tasks and of groups; temperatures are inverted, so that the shares are as stated."""
        mixture, temperature = self.mixture, self.mixture.temperature
        of_task = dict.fromkeys(mixture.weights, 0.0) | _shares_of_tasks(mixture)
        groups = mixture.groups or {ONE_GROUP: [*mixture.weights]}
        varied = {name: max(self.total * share, LEAST_SHARE) for name, share in shares.items()}
        if self.varies_groups:
            return {}, _as_weights(_sums(groups, of_task) | varied, temperature.groups)
        of_task |= varied
        if not mixture.groups:
            return _as_weights(of_task, temperature.tasks), {}
        of_group = _sums(groups, of_task)
        within = {
            task: of_task[task] / (of_group[group] or 1.0)
            for group, tasks in groups.items()
            for task in tasks
        }
        return _as_weights(within, temperature.tasks), _as_weights(of_group, temperature.groups)


def _sums(groups: Mapping[str, Sequence[str]], of_task: Mapping[str, float]) -> dict[str, float]:
    return {group: sum(of_task[task] for task in tasks) for group, tasks in groups.items()}


def _shares_of_tasks(mixture: MixtureConfig) -> dict[str, float]:
    return task_shares(mixture, mixture.weights, mixture.weights)


def _as_weights(shares: Mapping[str, float], temperature: float) -> dict[str, float]:
    return {name: float(f"{share**temperature:.{DIGITS}g}") for name, share in shares.items()}


@dataclass(frozen=True)
class Space:
    """All that varies between the trials of a sweep."""

    shares: ShareSpace | None = None
    keys: Mapping[str, KeyConfig] = field(default_factory=dict)
    """Dot-key of the recipe -> its values."""

    own_settings: Mapping[str, Any] = field(default_factory=dict)
    """Dot-key -> value in the base recipe."""

    @property
    def names(self) -> tuple[str, ...]:
        """Varied tasks or groups (K)."""
        return self.shares.names if self.shares else ()

    def overrides(self, shares: Mapping[str, float], settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Overrides of the recipe that set a point; settings equal to the recipe's own need none."""
        of_shares = self.shares.overrides(shares) if self.shares else ()
        changed = {key: value for key, value in settings.items() if value != self.own_settings.get(key)}
        return (*of_shares, *(f"{key}={json.dumps(value)}" for key, value in changed.items()))


def rounded_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """Shares with a few digits that still sum to one; the largest takes the difference.

    >>> rounded_shares({"asr": 1 / 3, "aac": 1 / 3, "lid": 1 / 3})
    {'asr': 0.333334, 'aac': 0.333333, 'lid': 0.333333}
    """
    rounded = {name: round(share, DIGITS) for name, share in shares.items()}
    largest = max(rounded, key=lambda name: rounded[name])
    rest = sum(share for name, share in rounded.items() if name != largest)
    return rounded | {largest: round(1 - rest, DIGITS)}
