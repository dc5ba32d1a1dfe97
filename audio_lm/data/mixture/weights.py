"""A mixture as shares: groups, tasks and sources, each level with weights and a temperature.

What a share counts (clips, seconds or tokens) is turned into clips here, because
clips are what is drawn; everything later counts positions only.

Shapes: L leaves.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from audio_lm.common.errors import RecipeError
from audio_lm.data.config import ALL, MixtureConfig

ONE_GROUP = "all"
Name = TypeVar("Name")
RAMP_PIECES = 32  # a straight line between two points of a schedule is this many stairs


@dataclass(frozen=True)
class MixtureSource:
    """A source heard under a task, and what its rows are like."""

    task: str
    source: str
    num_rows: int
    mean_seconds: float
    mean_tokens: float

    def unit(self, counts: str) -> float:
        """How much one of its clips is of what weights count."""
        return {"clips": 1.0, "seconds": self.mean_seconds, "tokens": self.mean_tokens}[counts]


def clip_shares(
    config: MixtureConfig,
    leaves: Sequence[MixtureSource],
    *,
    weights: Mapping[str, float],
    closed: Collection[int] = (),
) -> list[float]:
    """The share of the drawn clips of every leaf (L); zero for those that are closed.

    Args:
        weights: of the tasks, at some step.
        closed: leaves that have reached their number of passes; siblings take their share.

    Raises:
        RecipeError: nothing is left, or a row of text is weighed by seconds.
    """
    units = [leaf.unit(config.weight_by) for leaf in leaves]
    open_leaves = [
        number for number, leaf in enumerate(leaves) if number not in closed and weights[leaf.task] > 0
    ]
    if not open_leaves:
        raise RecipeError(
            "mixture: every source has been heard as often as max_epochs allows; raise it, or take fewer steps"
        )
    for number in open_leaves:
        if not units[number] > 0:
            raise RecipeError(
                f"mixture: {leaves[number].source!r} is text only and has no {config.weight_by}; set weight_by to clips or "
                f"tokens"
            )
    shares = [0.0] * len(leaves)
    for number, share in _tree(config, leaves, weights, open_leaves).items():
        shares[number] = share / units[number]
    total = sum(shares)
    return [share / total for share in shares]


def _tree(
    config: MixtureConfig,
    leaves: Sequence[MixtureSource],
    weights: Mapping[str, float],
    open_leaves: Sequence[int],
) -> dict[int, float]:
    """Share of each open leaf in what weights count."""
    groups = config.groups or {ONE_GROUP: list(weights)}
    of_task: dict[str, list[int]] = {}
    for number in open_leaves:
        of_task.setdefault(leaves[number].task, []).append(number)
    tasks_of = {group: [task for task in tasks if task in of_task] for group, tasks in groups.items()}
    group_weights = {
        group: config.group_weights.get(group, sum(weights[task] for task in tasks))
        for group, tasks in tasks_of.items()
        if tasks
    }
    temperature, found = config.temperature, dict[int, float]()
    for group, group_share in _levelled(group_weights, temperature.groups).items():
        task_weights = {task: weights[task] for task in tasks_of[group]}
        for task, task_share in _levelled(task_weights, temperature.tasks).items():
            amounts = {number: _source_weight(config, leaves[number]) for number in of_task[task]}
            for number, share in _levelled(amounts, temperature.sources).items():
                found[number] = group_share * task_share * share
    return found


def _source_weight(config: MixtureConfig, leaf: MixtureSource) -> float:
    return config.source_weights.get(leaf.source, leaf.num_rows * leaf.unit(config.weight_by))


def _levelled(weights: Mapping[Name, float], temperature: float) -> dict[Name, float]:
    heated = {name: weight ** (1 / temperature) if weight > 0 else 0.0 for name, weight in weights.items()}
    total = sum(heated.values())
    return {name: weight / total for name, weight in heated.items() if weight > 0} if total else {}


def max_examples(config: MixtureConfig, leaf: MixtureSource) -> int | None:
    """How many of a leaf's clips may be heard in all; none without a cap."""
    passes = config.max_epochs.get(leaf.source, config.max_epochs.get(ALL))
    return None if passes is None else max(1, int(passes * leaf.num_rows))


def piecewise_weights(config: MixtureConfig, *, steps: int) -> list[tuple[int, dict[str, float]]]:
    """The weights of the tasks as they are from certain steps on, in order; the first from step 0.

    >>> config = MixtureConfig(sources={"asr": ["a/b-train"]}, weights={"asr": 1}, schedule={"asr": [[5, 1], [5, 3]]})
    >>> piecewise_weights(config, steps=9)
    [(0, {'asr': 1.0}), (5, {'asr': 3.0})]
    """
    begins = {0}
    for points in config.schedule.values():
        for (left, _), (right, _) in itertools.pairwise(points):
            pieces = max(1, min(RAMP_PIECES, int(right - left)))
            begins |= {round(left + (right - left) * piece / pieces) for piece in range(pieces + 1)}
        begins |= {round(points[0][0])}
    ordered = sorted(step for step in begins if 0 <= step < steps)
    found: list[tuple[int, dict[str, float]]] = []
    for step, following in zip(ordered, [*ordered[1:], steps], strict=True):
        middle = (step + following - 1) / 2
        weights = {
            task: _at(config.schedule[task], middle) if task in config.schedule else float(weight)
            for task, weight in config.weights.items()
        }
        if not found or found[-1][1] != weights:
            found.append((step, weights))
    return found


def _at(points: Sequence[Sequence[float]], step: float) -> float:
    """The weight at a step: level before the first point and after the last."""
    before = [point for point in points if point[0] <= step]
    after = [point for point in points if point[0] > step]
    if not before or not after:
        return float((before[-1] if before else after[0])[1])
    (left, low), (right, high) = before[-1], after[0]
    return float(low + (high - low) * (step - left) / (right - left))
