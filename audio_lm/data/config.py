"""Configuration of a mixture (``conf/mixture/``) and of SpecAugment."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from audio_lm.common.errors import RecipeError
from audio_lm.common.ranges import Count, Decay, Factor, Range, Share, Size, Weight

ALL = "all"  # in max_epochs: every source without a line of its own; in bounds of online shares: every other task
SUM_TOLERANCE = 1e-9  # of shares that sum to one
PREFETCHED_STEPS = 2  # by every data worker, as torch's DataLoader has it


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
class OnlineConfig:
    """Shares of tasks that are adapted during a stage, from the losses of the tasks (bandit; arXiv:2312.02406)."""

    every: Size = 50
    """Steps between two decisions, at the recipe's weights; a decision sets the shares of a window of so many steps."""

    warmup_steps: Count = 0
    """Steps after which shares are adapted; before it the losses are only observed."""

    smoothing: Decay = 0.5
    """Weight of the earlier reward of a task when a decision adds its loss."""

    strength: Factor = 1.0
    """Rate of the rewards: a task whose smoothed loss is higher by 1 nat is drawn e ** strength times as often."""

    importance_weights: bool = False
    """Divide a loss by the task's share, relative to an equal one, as published; shares then tend to be equal."""

    prior: Literal["uniform", "weights"] = "uniform"
    """Shares of tasks with equal rewards: equal, or those of the recipe's weights."""

    min_share: dict[str, Share] = field(default_factory=lambda: {ALL: 0.01})
    """Task -> its smallest adapted share; ``all`` for every other one."""

    max_share: dict[str, Share] = field(default_factory=dict)
    """Task -> its largest adapted share; ``all`` for every other one."""

    lead_steps: Size = 32
    """Steps from a decision to the first step that it applies to; data workers have to read ahead by fewer."""

    def bounds(self, tasks: Sequence[str]) -> tuple[list[float], list[float]]:
        """Smallest and largest share of tasks, in their order."""
        return (
            [self.min_share.get(task, self.min_share.get(ALL, 0.0)) for task in tasks],
            [self.max_share.get(task, self.max_share.get(ALL, 1.0)) for task in tasks],
        )

    def check_tasks(self, tasks: Sequence[str]) -> None:
        """Check the bounds of the drawn tasks.

        Raises:
            RecipeError: they are of unknown tasks, or no shares keep them.
        """
        if len(tasks) < 2:
            raise RecipeError(
                f"mixture.online: only {', '.join(tasks) or 'no task'} is drawn, so no share can change; draw two tasks, or "
                f"leave `online` out"
            )
        for key in ("min_share", "max_share"):
            if unknown := getattr(self, key).keys() - set(tasks) - {ALL}:
                raise RecipeError(
                    f"mixture.online.{key}: {sorted(unknown)} are not drawn; expected {[*tasks]} or {ALL}"
                )
        lows, highs = self.bounds(tasks)
        crossed = [task for task, low, high in zip(tasks, lows, highs, strict=True) if low > high]
        if crossed:
            raise RecipeError(f"mixture.online: min_share is over max_share for {crossed}; lower it")
        if sum(lows) > 1 + SUM_TOLERANCE or sum(highs) < 1 - SUM_TOLERANCE:
            raise RecipeError(
                f"mixture.online: min_share sums to {sum(lows):g} and max_share to {sum(highs):g} over {len(tasks)} tasks; the "
                f"first must be 1 or less and the second 1 or more; change them"
            )

    def only(self, tasks: Sequence[str]) -> "OnlineConfig | None":
        """The same rules for some of the tasks; None if no shares of these keep the bounds."""
        known = {*tasks, ALL}
        rules = replace(
            self,
            min_share={task: share for task, share in self.min_share.items() if task in known},
            max_share={task: share for task, share in self.max_share.items() if task in known},
        )
        try:
            rules.check_tasks(tasks)
        except RecipeError:
            return None
        return rules

    def check_lead(self, num_workers: int) -> None:
        """Check that data workers do not read steps whose shares are not decided.

        Raises:
            RecipeError: they would.
        """
        ahead = PREFETCHED_STEPS * num_workers + 2  # one step is trained on, and Lightning holds the next one
        if self.lead_steps < ahead:
            raise RecipeError(
                f"mixture.online.lead_steps is {self.lead_steps}, and hardware.num_workers={num_workers} reads {ahead} steps "
                f"ahead, whose shares would not be decided; set lead_steps to {ahead} or more"
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

    max_rows: dict[str, Size] = field(default_factory=dict)
    """Cut-set -> number of its rows to train on, chosen with the recipe's seed; its share does not change, so it is repeated
    more often. The rows of a smaller number are among those of a larger one."""
    online: OnlineConfig | None = None
    """Shares adapted during the stage, from the losses of the tasks; null keeps them as the weights say."""

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
        self._check_online()

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
        if unknown := self.max_rows.keys() - known:
            raise RecipeError(f"mixture.max_rows: {sorted(unknown)} are in no task's `sources`")
        if unknown := self.schedule.keys() - self.weights.keys():
            raise RecipeError(
                f"mixture.schedule: {sorted(unknown)} have no weight; give each a line in `weights`, too"
            )

    def _check_online(self) -> None:
        if self.online is None:
            return
        if self.schedule:
            raise RecipeError(
                f"mixture.online: {sorted(self.schedule)} have a `schedule` as well, and both set their shares; "
                f"keep one of the two"
            )
        self.online.check_tasks(self.drawn_tasks)


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
