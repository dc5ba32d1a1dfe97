"""Configuration of a mixture (``conf/mixture/``) and of SpecAugment."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from audio_lm.common.errors import RecipeError
from audio_lm.common.ranges import Factor, Range, Share, Weight

ALL = "all"  # in max_epochs: every source without a line of its own


@dataclass(frozen=True)
class TemperatureConfig:
    """Temperature of each level of the mixture: shares are proportional to weights ** (1 / temperature)."""

    groups: Factor = 1.0
    """Among groups."""

    tasks: Factor = 1.0
    """Among the tasks of a group."""

    sources: Factor = 1.0
    """Among the sources of a task."""

    def __post_init__(self) -> None:
        """Refuse temperatures that are not positive."""
        for name, value in vars(self).items():
            if not value > 0:
                raise RecipeError(
                    f"mixture.temperature.{name} is {value}; 1 keeps the weights, larger values make them more equal"
                )


@dataclass(frozen=True)
class SourceFacts:
    """Size of a cut-set that is not on this machine."""

    hours: Annotated[float, Range(0, 1e9)]
    """Hours of audio."""

    clips: Annotated[int, Range(1, 10**12)]
    """Number of cuts."""


@dataclass(frozen=True)
class MixtureConfig:
    """Tasks of a stage, their sources and sampling weights."""

    sources: dict[str, list[str]] = field(default_factory=dict)
    """Task, or ``chat`` -> cut-sets, ``corpus/subset-split``."""

    weights: dict[str, Weight] = field(default_factory=dict)
    """Task -> sampling weight; need not sum to one. Zero leaves the task out."""

    weight_by: Literal["clips", "seconds", "tokens"] = "clips"
    """Unit in which weights are shares."""

    groups: dict[str, list[str]] = field(default_factory=dict)
    """Group -> its tasks; empty for a single group of all tasks."""

    group_weights: dict[str, Weight] = field(default_factory=dict)
    """Group -> sampling weight; by default the sum of its tasks' weights."""

    source_weights: dict[str, Weight] = field(default_factory=dict)
    """Cut-set -> sampling weight within its task; by default its size in the unit of ``weight_by``."""

    temperature: TemperatureConfig = field(default_factory=TemperatureConfig)
    """Temperature of each level."""

    schedule: dict[str, list[list[Weight]]] = field(default_factory=dict)
    """Task -> points [step, weight], interpolated linearly; two points at one step are a jump."""

    max_epochs: dict[str, Factor] = field(default_factory=dict)
    """Cut-set -> maximum number of epochs, after which its share goes to its siblings; ``all`` for every other one."""

    facts: dict[str, SourceFacts] = field(default_factory=dict)
    """Cut-set -> its size, used by `audio-lm plan` if it is not on this machine and no corpus states it."""

    def __post_init__(self) -> None:
        """Check that all keys refer to known tasks, groups and sources, and that numbers are in range."""
        if self.sources.keys() != self.weights.keys():
            raise RecipeError(
                f"mixture: no weight for {sorted(self.sources.keys() - self.weights.keys())}, "
                f"no source for {sorted(self.weights.keys() - self.sources.keys())}; "
                f"give every task both a line in `sources` and one in `weights`"
            )
        if self.weights and not sum(self.weights.values()) > 0:
            raise RecipeError(
                "mixture: all weights are zero, so nothing would be drawn; give one task a weight"
            )
        self._check_numbers()
        self._check_groups()
        self._check_names()

    @property
    def drawn_tasks(self) -> tuple[str, ...]:
        """Tasks that are drawn at some step."""
        return tuple(task for task, weight in self.weights.items() if weight > 0 or task in self.schedule)

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
        for source, epochs in self.max_epochs.items():
            if not epochs > 0:
                raise RecipeError(f"mixture.max_epochs.{source} is {epochs}; leave the source out instead")

    def _check_groups(self) -> None:
        grouped = [task for tasks in self.groups.values() for task in tasks]
        if self.groups and sorted(grouped) != sorted(self.weights):
            twice = sorted({task for task in grouped if grouped.count(task) > 1})
            raise RecipeError(
                f"mixture.groups: in no group are {sorted(self.weights.keys() - set(grouped))}, in several {twice}, "
                f"without a weight {sorted(set(grouped) - self.weights.keys())}; put every task into one group"
            )
        if unknown := self.group_weights.keys() - self.groups.keys():
            raise RecipeError(f"mixture.group_weights: {sorted(unknown)} are no groups; see `groups`")

    def _check_names(self) -> None:
        known = {source for sources in self.sources.values() for source in sources}
        for key in ("source_weights", "max_epochs", "facts"):
            if unknown := getattr(self, key).keys() - known - {ALL}:
                raise RecipeError(f"mixture.{key}: {sorted(unknown)} are in no task's `sources`")
        if unknown := self.schedule.keys() - self.weights.keys():
            raise RecipeError(
                f"mixture.schedule: {sorted(unknown)} have no weight; give each a line in `weights`, too"
            )


@dataclass(frozen=True)
class SpecAugmentConfig:
    """SpecAugment of the log-mel. LibriSpeech Basic: W=80, F=27, mF=1, T=100, p=1, mT=1 (arXiv:1904.08779, table 1)."""

    time_warp: Annotated[int, Range(0, 3000)] = 80
    """Largest shift of the warping point, in frames; 0 disables time warping."""

    frequency_width: Annotated[int, Range(0, 1024)] = 27
    """Maximum width of the frequency mask, in mel bins."""

    time_width: Annotated[int, Range(0, 3000)] = 100
    """Maximum width of the time mask, in frames."""

    time_share: Share = 1.0
    """Maximum width of the time mask, as a share of the clip."""
