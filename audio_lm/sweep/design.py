"""Trials of a sweep: first those for comparison, then repeats, then the points of the design.

A sampled point depends on the sweep's seed and its number only: more trials add points and change none.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from audio_lm.common.rng import random_for
from audio_lm.sweep.config import KeyConfig
from audio_lm.sweep.definition import Sweep
from audio_lm.sweep.simplex import simplex_grid
from audio_lm.sweep.space import ShareSpace, rounded_shares
from audio_lm.sweep.trial import Purpose, Trial

Shares = dict[str, float]
TRIALS_PER_NAME = (
    3  # of a design without a number of trials; Olmix finds that it grows linearly with the number of domains
)
MAX_TRIES = 200
LEAST_CENTER = (
    0.02  # smallest share of the center of the Dirichlet distribution, so that no task is never sampled
)


def first_trials(sweep: Sweep) -> list[Trial]:
    """All trials that are known before any of them has run, in the order in which they are run."""
    found: list[Trial] = []

    def add(
        purpose: Purpose, shares: Shares, settings: Mapping[str, Any] | None = None, seed: int | None = None
    ) -> None:
        found.append(sweep.trial(f"{len(found):03d}", purpose, shares, settings, seed))

    own = sweep.shares.of_recipe if sweep.shares else {}
    for purpose, shares in reference_points(sweep).items():
        add(purpose, shares)
    for number in range(sweep.config.repeats):
        add("repeat", own, seed=(sweep.config.seed + 1 + number) % 2**32)
    for shares, settings in design_points(sweep):
        add("design", shares, settings)
    return found


def reference_points(sweep: Sweep) -> dict[Purpose, Shares]:
    """Shares of the trials that every sweep starts with; only the recipe's own if no shares are varied."""
    space = sweep.shares
    if space is None:
        return {"recipe": {}}
    return {
        "uniform": space.nearest(dict.fromkeys(space.names, 1.0)),
        "proportional": space.nearest(proportions(sweep, space)),
        "recipe": space.of_recipe,
        "bad": space.nearest(_bad(space)),
    }


def proportions(sweep: Sweep, space: ShareSpace) -> Shares:
    """Shares proportional to the size of each task's or group's data, in the unit of the weights."""
    unit = space.mixture.weight_by
    sizes = {
        name: sum(sweep.sizes.size_of(task, unit) for task in space.tasks_of([name])) for name in space.names
    }
    total = sum(sizes.values())
    return {name: size / total for name, size in sizes.items()}


def _bad(space: ShareSpace) -> Shares:
    """Nearly everything on the task or group with the smallest share in the recipe."""
    own = space.of_recipe
    smallest = min(space.names, key=lambda name: own[name])
    return {name: 1.0 if name == smallest else 0.0 for name in space.names}


def design_points(sweep: Sweep) -> Iterator[tuple[Shares, dict[str, Any]]]:
    """Points of the design: shares and settings; none for TPE, which chooses them while the sweep runs."""
    kind = sweep.config.design.kind
    if kind == "dirichlet":
        for number in range(num_trials(sweep)):
            yield _sampled_shares(sweep, number), sampled_settings(sweep, number)
    elif kind in ("grid", "list"):
        shares = grid_shares(sweep) if kind == "grid" else listed_shares(sweep)
        values = [[(key, value) for value in config.values] for key, config in sweep.space.keys.items()]
        for point, settings in itertools.product(shares, itertools.product(*values)):
            yield dict(point), dict(settings)


def num_trials(sweep: Sweep) -> int:
    """Number of sampled trials."""
    if sweep.config.design.trials is not None:
        return sweep.config.design.trials
    return TRIALS_PER_NAME * (len(sweep.space.names) + len(sweep.space.keys))


def _sampled_shares(sweep: Sweep, number: int) -> Shares:
    """A point around the proportions of the data, within the bounds."""
    space = sweep.shares
    if space is None:
        return {}
    design = sweep.config.design
    center = np.array([max(share, LEAST_CENTER) for share in proportions(sweep, space).values()])
    strength = design.strengths[number % len(design.strengths)] * len(space.names)
    rng = random_for("sweep design", design.seed, number)
    shares: Shares = {}
    for _ in range(MAX_TRIES):
        point = rng.dirichlet(strength * center / center.sum())
        shares = rounded_shares(dict(zip(space.names, point.tolist(), strict=True)))
        if sweep.allows(shares):
            return shares
    return _pulled_inside(sweep, space, shares)


def _pulled_inside(sweep: Sweep, space: ShareSpace, shares: Shares) -> Shares:
    """Move a point into the bounds, and towards the recipe until its sources are not repeated too often."""
    inside, own = space.nearest(shares), space.of_recipe
    for step in range(1, 11):
        if sweep.allows(inside):
            break
        mixed = {name: share + (own[name] - share) * step / 10 for name, share in inside.items()}
        inside = space.nearest(mixed)
    return inside


def sampled_settings(sweep: Sweep, number: int) -> dict[str, Any]:
    """Values of the varied keys: lists are used up before a value returns, ranges are sampled in the logarithm."""
    return {key: _sampled(config, sweep, key, number) for key, config in sweep.space.keys.items()}


def _sampled(config: KeyConfig, sweep: Sweep, key: str, number: int) -> Any:
    seed = sweep.config.design.seed
    if config.log_range:
        low, high = map(math.log, config.log_range)
        return float(f"{math.exp(random_for('sweep range', seed, key, number).uniform(low, high)):.4g}")
    turn, place = divmod(number, len(config.values))
    return config.values[random_for("sweep values", seed, key, turn).permutation(len(config.values))[place]]


def grid_shares(sweep: Sweep) -> Sequence[Shares]:
    """Allowed points of the grid; one empty point if no shares are varied."""
    space = sweep.shares
    if space is None:
        return [{}]
    points = simplex_grid(len(space.names), sweep.config.design.divisions)
    named = [rounded_shares(dict(zip(space.names, point, strict=True))) for point in points]
    return [shares for shares in named if sweep.allows(shares)]


def listed_shares(sweep: Sweep) -> Sequence[Shares]:
    """Points of the list, normalized; one empty point if no shares are varied."""
    space = sweep.shares
    if space is None:
        return [{}]
    return [normalized(space, point) for point in sweep.config.design.points]


def outside_points(sweep: Sweep) -> Iterator[str]:
    """Yield messages for listed points outside the bounds, and for a grid without points within them."""
    if sweep.shares is None:
        return
    if sweep.config.design.kind == "grid" and not grid_shares(sweep):
        yield "the grid has no point within the bounds; raise design.divisions, or widen the bounds"
    if sweep.config.design.kind == "list":
        for number, shares in enumerate(listed_shares(sweep), 1):
            if not sweep.allows(shares):
                point = ", ".join(f"{name} {share:.4g}" for name, share in shares.items())
                yield f"point {number} ({point} of the varied part) is outside min, max or max_epochs; correct it"


def normalized(space: ShareSpace, point: Mapping[str, float]) -> Shares:
    """Shares of a listed point; names that it leaves out have none."""
    total = sum(point.values())
    return rounded_shares({name: point.get(name, 0.0) / total for name in space.names})
