"""A checked sweep: base recipe, space and sizes, and from a point of the space to a trial."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audio_lm.config.load import ComposedRecipe
from audio_lm.config.schema import StageConfig
from audio_lm.data.config import MixtureConfig
from audio_lm.sweep.config import SweepConfig
from audio_lm.sweep.facts import SWEEPS
from audio_lm.sweep.matched_epochs import Epochs, FullSize
from audio_lm.sweep.sizes import StageSizes
from audio_lm.sweep.space import ShareSpace, Space, rounded_shares
from audio_lm.sweep.trial import Purpose, Trial

EPOCH_TOLERANCE = 1.001  # numbers of draws and rows are whole


@dataclass(frozen=True)
class Sweep:
    """A sweep whose file and base recipe are checked."""

    config: SweepConfig
    base: ComposedRecipe
    """Base recipe with the fixed overrides."""

    recipe: str
    """Name or file of the base recipe, as `audio-lm train` takes it."""

    stage: str
    """The stage that is varied: that of the shares, or the last one."""

    space: Space
    sizes: StageSizes
    """Sizes of the stage's sources."""

    signature: str
    """8 hexadecimal digits of all settings that decide the trials."""

    overrides: tuple[str, ...] = ()
    """Fixed overrides: those of the file, then those of the command line."""

    full: FullSize | None = None
    """Recipe whose repetition trials match."""

    notes: tuple[str, ...] = field(default=())
    """Messages for the console."""

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self.config.name

    @property
    def folder(self) -> Path:
        """Folder of the sweep's results, below the working folder."""
        return SWEEPS / f"{self.name}-{self.signature}"

    @property
    def shares(self) -> ShareSpace | None:
        """Space of the shares; None if only keys are varied."""
        return self.space.shares

    @property
    def recipe_stage(self) -> StageConfig:
        """The varied stage in the base recipe."""
        return self.base.recipe.stages[self.stage]

    def trial(
        self,
        name: str,
        purpose: Purpose,
        shares: Mapping[str, float],
        settings: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> Trial:
        """Trial at a point.

        Args:
            shares: of the varied part; empty if no shares are varied.
            settings: varied dot-key -> value; by default those of the base recipe.
            seed: by default that of the sweep.
        """
        shares = rounded_shares(shares) if shares else {}
        settings = dict(self.space.own_settings) if settings is None else dict(settings)
        seed = self.config.seed if seed is None else seed
        mixture, steps = self.mixture(shares), self.steps(shares)
        budget = () if steps == self.recipe_stage.steps else (f"stages.{self.stage}.steps={steps}",)
        limits = self._new_limits(mixture)
        rows = (f"stages.{self.stage}.mixture.max_rows={json.dumps(limits)}",) if limits else ()
        overrides = (
            *self.overrides,
            *budget,
            *self.space.overrides(shares, settings),
            *rows,
            f"seed={seed}",
        )
        return Trial(name, purpose, shares, settings, seed, overrides)

    def mixture(self, shares: Mapping[str, float]) -> MixtureConfig:
        """Mixture of the varied stage at a point, with the rows that matched epochs leave."""
        mixture = self.recipe_stage.mixture
        if self.shares and shares:
            mixture = self.shares.with_shares(shares)
        if self.full is None:
            return mixture
        limits = self.full.matched_rows(mixture, self.sizes, self._steps_of(mixture))
        return replace(mixture, max_rows=mixture.max_rows | limits)

    def steps(self, shares: Mapping[str, float]) -> int:
        """Steps of the varied stage at a point, from the budget."""
        return self._steps_of(self.mixture(shares))

    def epochs(self, shares: Mapping[str, float]) -> Epochs:
        """(task, source) -> epochs of a trial at a point."""
        return self.sizes.epochs(self.mixture(shares), self.steps(shares))

    def epochs_in_full(self, shares: Mapping[str, float]) -> Epochs | None:
        """(task, source) -> epochs of the full-size recipe at the same shares; None if trials do not match one."""
        return None if self.full is None else self.full.epochs(self.mixture(shares))

    def allows(self, shares: Mapping[str, float]) -> bool:
        """True if shares are within the bounds, and no varied source is repeated more often than allowed."""
        if self.shares is None:
            return True
        limit = self.config.vary.shares.max_epochs if self.config.vary.shares else None
        if not self.shares.contains(shares):
            return False
        return limit is None or self.varied_epochs(shares, self.shares.names) <= limit * EPOCH_TOLERANCE

    def varied_epochs(self, shares: Mapping[str, float], names: Sequence[str]) -> float:
        """Largest number of epochs of a source of some varied tasks or groups in a trial."""
        assert self.shares is not None, "shares are varied"
        tasks = self.shares.tasks_of(names)
        return max(epochs for (task, _), epochs in self.epochs(shares).items() if task in tasks)

    def _steps_of(self, mixture: MixtureConfig) -> int:
        budget = self.config.budget
        if budget.learned_tokens is not None:
            return self.sizes.steps_for(mixture, budget.learned_tokens)
        return self.recipe_stage.steps if budget.steps is None else budget.steps

    def _new_limits(self, mixture: MixtureConfig) -> dict[str, int]:
        own = self.recipe_stage.mixture.max_rows
        return {source: rows for source, rows in mixture.max_rows.items() if own.get(source) != rows}
