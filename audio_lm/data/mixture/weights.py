"""Sampling shares of a mixture: groups, tasks and sources, each level with weights and a temperature.

Shares of seconds or tokens are converted to shares of clips here, because clips are drawn; later modules
use positions only.

Shapes: S sources.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from audio_lm.common.errors import RecipeError
from audio_lm.data.config import ALL, MixtureConfig

ONE_GROUP = "all"
Name = TypeVar("Name")
RAMP_PIECES = 32  # constant pieces that approximate a linear ramp between two points of a schedule


@dataclass(frozen=True)
class MixtureSource:
    """Source of a task, with the size and mean length of its rows."""

    task: str
    source: str
    num_rows: int
    mean_seconds: float
    mean_tokens: float
    all_rows: int | None = None
    """Number of rows before ``max_rows``; None if it is not limited."""

    def unit(self, weight_by: str) -> float:
        """Mean size of a clip in the unit of the weights."""
        return {"clips": 1.0, "seconds": self.mean_seconds, "tokens": self.mean_tokens}[weight_by]


def clip_shares(
    config: MixtureConfig,
    sources: Sequence[MixtureSource],
    *,
    weights: Mapping[str, float],
    closed: Collection[int] = (),
) -> list[float]:
    """Share of every source in the drawn clips (S); zero for closed sources.

    Args:
        weights: of the tasks, at some step.
        closed: indices of sources that have reached ``max_epochs``; their siblings take their share.

    Raises:
        RecipeError: every source is closed or has no weight, or a text-only source is weighted by seconds.
    """
    units = [source.unit(config.weight_by) for source in sources]
    open_sources = [
        number for number, source in enumerate(sources) if number not in closed and weights[source.task] > 0
    ]
    if not open_sources:
        raise RecipeError(
            "mixture: every source has reached max_epochs before the stage ends; raise it, or take fewer steps"
        )
    for number in open_sources:
        if not units[number] > 0:
            raise RecipeError(
                f"mixture: {sources[number].source!r} is text only and has no {config.weight_by}; set weight_by to clips or "
                f"tokens"
            )
    shares = [0.0] * len(sources)
    for number, share in _shares_in_unit(config, sources, weights, open_sources).items():
        shares[number] = share / units[number]
    if not (total := sum(shares)):
        names = sorted({sources[number].source for number in open_sources})
        raise RecipeError(
            f"mixture: source_weights or group_weights are 0 for {names}, and no other source of a task with a weight is left; "
            f"raise one of them"
        )
    return [share / total for share in shares]


def _shares_in_unit(
    config: MixtureConfig,
    sources: Sequence[MixtureSource],
    weights: Mapping[str, float],
    open_sources: Sequence[int],
) -> dict[int, float]:
    """Share of each open source in the unit of the weights."""
    of_task: dict[str, list[int]] = {}
    for number in open_sources:
        of_task.setdefault(sources[number].task, []).append(number)
    found = dict[int, float]()
    for task, share_of_task in task_shares(config, weights, of_task).items():
        source_weights = {number: _source_weight(config, sources[number]) for number in of_task[task]}
        for number, share in _normalize(source_weights, config.temperature.sources).items():
            found[number] = share_of_task * share
    return found


def task_shares(
    config: MixtureConfig, weights: Mapping[str, float], tasks: Collection[str]
) -> dict[str, float]:
    """Share of each task in the unit of the weights, from groups, weights and temperatures.

    Args:
        weights: of all tasks, at some step.
        tasks: those with an open source; the others have no share.
    """
    groups = config.groups or {ONE_GROUP: list(weights)}
    tasks_of = {group: [task for task in members if task in tasks] for group, members in groups.items()}
    group_weights = {
        group: config.group_weights.get(group, sum(weights[task] for task in members))
        for group, members in tasks_of.items()
        if members
    }
    temperature, found = config.temperature, dict[str, float]()
    for group, share_of_group in _normalize(group_weights, temperature.groups).items():
        task_weights = {task: weights[task] for task in tasks_of[group]}
        for task, share in _normalize(task_weights, temperature.tasks).items():
            found[task] = share_of_group * share
    return found


def _source_weight(config: MixtureConfig, source: MixtureSource) -> float:
    num_rows = source.num_rows if source.all_rows is None else source.all_rows
    return config.source_weights.get(source.source, num_rows * source.unit(config.weight_by))


def _normalize(weights: Mapping[Name, float], temperature: float) -> dict[Name, float]:
    """Shares proportional to weights ** (1 / temperature), of the positive weights."""
    powers = {name: weight ** (1 / temperature) if weight > 0 else 0.0 for name, weight in weights.items()}
    total = sum(powers.values())
    return {name: power / total for name, power in powers.items() if power > 0} if total else {}


def max_examples(config: MixtureConfig, source: MixtureSource) -> int | None:
    """Maximum number of draws of a source in a stage; None without a cap."""
    epochs = config.max_epochs.get(source.source, config.max_epochs.get(ALL))
    return None if epochs is None else max(1, int(epochs * source.num_rows))


def piecewise_weights(config: MixtureConfig, *, steps: int) -> list[tuple[int, dict[str, float]]]:
    """Task weights as a piecewise constant function: (first step, weights) pairs, the first one at step 0.

    >>> config = MixtureConfig(sources={"asr": ["a/b-train"]}, weights={"asr": 1}, schedule={"asr": [[5, 1], [5, 3]]})
    >>> piecewise_weights(config, steps=9)
    [(0, {'asr': 1.0}), (5, {'asr': 3.0})]
    """
    starts = {0}
    for points in config.schedule.values():
        for (left, _), (right, _) in itertools.pairwise(points):
            pieces = max(1, min(RAMP_PIECES, int(right - left)))
            starts |= {round(left + (right - left) * piece / pieces) for piece in range(pieces + 1)}
        starts |= {round(points[0][0])}
    ordered = sorted(step for step in starts if 0 <= step < steps)
    found: list[tuple[int, dict[str, float]]] = []
    for step, following in zip(ordered, [*ordered[1:], steps], strict=True):
        middle = (step + following - 1) / 2
        weights = {
            task: _interpolate(config.schedule[task], middle) if task in config.schedule else float(weight)
            for task, weight in config.weights.items()
        }
        if not found or found[-1][1] != weights:
            found.append((step, weights))
    return found


def _interpolate(points: Sequence[Sequence[float]], step: float) -> float:
    """Weight at a step, interpolated linearly; constant before the first point and after the last."""
    before = [point for point in points if point[0] <= step]
    after = [point for point in points if point[0] > step]
    if not before or not after:
        return float((before[-1] if before else after[0])[1])
    (left, low), (right, high) = before[-1], after[0]
    return float(low + (high - low) * (step - left) / (right - left))
