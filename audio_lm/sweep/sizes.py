"""Sizes of a stage's sources, from which the draws of any mixture of them follow by arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from audio_lm.common.errors import RecipeError
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.data.config import MixtureConfig
from audio_lm.data.mixture.schedule import conversations_per_step, expected_examples, segments_of
from audio_lm.data.mixture.weights import MixtureSource, clip_shares
from audio_lm.pipeline.plan_stage import rules_of
from audio_lm.preview.answer_tokens import mean_answer_tokens
from audio_lm.preview.estimate import StageEstimate, estimate_stages

MAX_STEPS = 10**9


@dataclass(frozen=True)
class StageSizes:
    """A stage with the sizes of its sources."""

    stage: StageConfig
    leaves: tuple[MixtureSource, ...]
    """Sources of all tasks, in the order of the recipe, without ``max_rows``."""

    learned_tokens: Mapping[str, float] = field(default_factory=dict)
    """Task -> mean number of tokens of an answer; empty if the budget does not count them."""

    @classmethod
    def from_recipe(cls, recipe: Recipe, stage: str, *, counts_answers: bool = False) -> Self:
        """Measure prepared cut-sets, or compute sizes from the published ones of their corpora.

        Args:
            counts_answers: count the tokens of answers, which needs prepared cut-sets.

        Raises:
            UserError: the recipe fails `audio-lm plan`.
        """
        estimates = {estimate.name: estimate for estimate in estimate_stages(recipe)}
        learned = mean_answer_tokens(recipe, stage) if counts_answers else {}
        return cls(recipe.stages[stage], tuple(_sources(estimates[stage])), learned)

    def draws(self, mixture: MixtureConfig, steps: int) -> list[int]:
        """Expected number of draws of each source under a mixture.

        Raises:
            RecipeError: all sources reach their caps before the stage ends.
        """
        limited = self._limited(mixture)
        if not mixture.max_epochs and not mixture.schedule:
            shares = clip_shares(mixture, limited, weights=mixture.weights)
            total = steps * conversations_per_step(shares, limited, rules_of(self.stage))
            return [round(share * total) for share in shares]
        segments, num_positions = segments_of(mixture, limited, rules_of(self.stage), steps=steps)
        return expected_examples(segments, num_positions)

    def epochs(self, mixture: MixtureConfig, steps: int) -> dict[tuple[str, str], float]:
        """(task, source) -> expected number of epochs under a mixture, counted in its ``max_rows``."""
        counts = self.draws(mixture, steps)
        return {
            (leaf.task, leaf.source): count / leaf.num_rows
            for leaf, count in zip(self._limited(mixture), counts, strict=True)
        }

    def steps_for(self, mixture: MixtureConfig, learned_tokens: int) -> int:
        """Steps after which the loss has counted a number of tokens, at least 1.

        Raises:
            RecipeError: answers have no tokens.
        """
        shares = clip_shares(mixture, self.leaves, weights=mixture.weights)
        of_example = sum(
            share * self.learned_tokens[leaf.task] for share, leaf in zip(shares, self.leaves, strict=True)
        )
        per_step = of_example * conversations_per_step(shares, self.leaves, rules_of(self.stage))
        if not per_step > 0:
            raise RecipeError("budget.learned_tokens: no answer of the mixture has tokens; set budget.steps")
        return max(1, min(MAX_STEPS, round(learned_tokens / per_step)))

    def size_of(self, task: str, weight_by: str) -> float:
        """Size of all sources of a task in the unit of the weights."""
        return sum(leaf.num_rows * leaf.unit(weight_by) for leaf in self.leaves if leaf.task == task)

    def rows_of(self, source: str) -> int:
        """Rows of a source; 0 if the stage does not have it."""
        return max((leaf.num_rows for leaf in self.leaves if leaf.source == source), default=0)

    def _limited(self, mixture: MixtureConfig) -> list[MixtureSource]:
        return [
            replace(leaf, num_rows=limit, all_rows=leaf.num_rows)
            if (limit := mixture.max_rows.get(leaf.source, leaf.num_rows)) < leaf.num_rows
            else leaf
            for leaf in self.leaves
        ]


def _sources(estimate: StageEstimate) -> list[MixtureSource]:
    return [
        MixtureSource(
            leaf.task, leaf.source, leaf.all_clips, leaf.hours * 3600 / leaf.clips, leaf.mean_tokens
        )
        for leaf in estimate.leaves
    ]
