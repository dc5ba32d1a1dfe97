"""What is heard and how often, as it stands in ``conf/mixture/``."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from audio_lm.common.errors import RecipeError
from audio_lm.common.ranges import Factor, Range, Share, Weight

ALL = "all"  # in max_epochs: every source without a line of its own


@dataclass(frozen=True)
class TemperatureConfig:
    """How far a level of the mixture is levelled: shares are weights to the power of 1 / temperature."""

    groups: Factor = 1.0
    """Of groups among each other."""

    tasks: Factor = 1.0
    """Of the tasks in a group."""

    sources: Factor = 1.0
    """Of the sources of a task."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        for name, value in vars(self).items():
            if not value > 0:
                raise RecipeError(
                    f"mixture.temperature.{name} is {value}; 1 keeps the weights, larger values level them"
                )


@dataclass(frozen=True)
class SourceFacts:
    """How much there is of a cut-set that is not on this machine."""

    hours: Annotated[float, Range(0, 1e9)]
    """Of audio."""

    clips: Annotated[int, Range(0, 10**12)]
    """Cuts."""


@dataclass(frozen=True)
class MixtureConfig:
    """Which tasks are heard, from where, and how much of each."""

    sources: dict[str, list[str]] = field(default_factory=dict)
    """Task, or ``chat`` -> cut-sets, ``corpus/subset-split``."""

    weights: dict[str, Weight] = field(default_factory=dict)
    """Task -> its share of what is drawn; need not sum to one. Zero leaves it out."""

    weight_by: Literal["clips", "seconds", "tokens"] = "clips"
    """What a weight counts."""

    groups: dict[str, list[str]] = field(default_factory=dict)
    """Group -> its tasks; none for one group of all."""

    group_weights: dict[str, Weight] = field(default_factory=dict)
    """Group -> its share; without it the sum of its tasks' weights."""

    source_weights: dict[str, Weight] = field(default_factory=dict)
    """Cut-set -> its share of its task; without it how much there is of it."""

    temperature: TemperatureConfig = field(default_factory=TemperatureConfig)
    """Of each level."""

    schedule: dict[str, list[list[Weight]]] = field(default_factory=dict)
    """Task -> points [step, weight], straight lines between them; two points at one step are a jump."""

    max_epochs: dict[str, Factor] = field(default_factory=dict)
    """Cut-set -> how often it may be heard before its share goes to its siblings; ``all`` for every other one."""

    facts: dict[str, SourceFacts] = field(default_factory=dict)
    """Cut-set -> how much there is of it, to plan with where it is not there and no corpus knows."""

    def __post_init__(self) -> None:
        """Close the maps against each other."""
        if self.sources.keys() != self.weights.keys():
            raise RecipeError(
                f"mixture: no weight for {sorted(self.sources.keys() - self.weights.keys())}, "
                f"no source for {sorted(self.weights.keys() - self.sources.keys())}; "
                f"give every task both a line in `sources` and one in `weights`"
            )
        if self.weights and not sum(self.weights.values()) > 0:
            raise RecipeError(
                "mixture: all weights are zero, so nothing would be heard; give one task a weight"
            )
        self._check_numbers()
        self._check_groups()
        self._check_names()

    def _check_numbers(self) -> None:
        for key in ("weights", "group_weights", "source_weights"):
            for name, weight in getattr(self, key).items():
                if not 0 <= weight < math.inf:
                    raise RecipeError(f"mixture.{key}.{name} is {weight}; a weight is 0 or more")
        for task, points in self.schedule.items():
            steps = [point[0] for point in points if len(point) == 2]
            if not points or len(steps) != len(points) or steps != sorted(steps) or min(map(min, points)) < 0:
                raise RecipeError(
                    f"mixture.schedule.{task} is {points}; write points [step, weight] in the order of steps"
                )
        for source, passes in self.max_epochs.items():
            if not passes > 0:
                raise RecipeError(f"mixture.max_epochs.{source} is {passes}; leave the source out instead")

    def _check_groups(self) -> None:
        grouped = [task for tasks in self.groups.values() for task in tasks]
        if self.groups and sorted(grouped) != sorted(self.weights):
            twice = sorted({task for task in grouped if grouped.count(task) > 1})
            raise RecipeError(
                f"mixture.groups: in no group are {sorted(self.weights.keys() - set(grouped))}, in several {twice}, "
                f"without a weight {sorted(set(grouped) - self.weights.keys())}; put every task into one group"
            )
        if strangers := self.group_weights.keys() - self.groups.keys():
            raise RecipeError(f"mixture.group_weights: {sorted(strangers)} are no groups; see `groups`")

    def _check_names(self) -> None:
        known = {source for sources in self.sources.values() for source in sources}
        for key in ("source_weights", "max_epochs", "facts"):
            if strangers := getattr(self, key).keys() - known - {ALL}:
                raise RecipeError(f"mixture.{key}: {sorted(strangers)} are in no task's `sources`")
        if strangers := self.schedule.keys() - self.weights.keys():
            raise RecipeError(
                f"mixture.schedule: {sorted(strangers)} have no weight; give each a line there too"
            )


@dataclass(frozen=True)
class SpecAugmentConfig:
    """Holes in the log-mel. LibriSpeech Basic: W=80, F=27, mF=1, T=100, p=1, mT=1 (arXiv:1904.08779, table 1)."""

    time_warp: Annotated[int, Range(0, 3000)] = 80
    """Largest shift of the warping point, in frames; 0 switches it off."""

    frequency_width: Annotated[int, Range(0, 1024)] = 27
    """Widest band of mel bins that is hidden."""

    time_width: Annotated[int, Range(0, 3000)] = 100
    """Longest stretch of frames that is hidden."""

    time_share: Share = 1.0
    """... but never more than this share of the clip."""
