"""Settings of the objectives of a stage beside next-token prediction: preferences (DPO) and checkable rewards (GRPO)."""

from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

from audio_lm.common.errors import RecipeError
from audio_lm.common.ranges import Factor, Range, Weight
from audio_lm.metrics.registry import find_metric

Objective = Literal["next_token", "dpo", "grpo"]
NEXT_TOKEN: Objective = "next_token"
DPO: Objective = "dpo"
GRPO: Objective = "grpo"
FORMAT = "format"
"""Reward that is no metric."""


@dataclass(frozen=True)
class DpoConfig:
    """Loss of a stage with ``objective: dpo``; pairs have the label ``rejected``.

    Source: Qwen2-Audio, arXiv:2407.10759, equation 2, which does not publish beta.
    """

    loss: Literal["sigmoid", "robust", "hinge", "ipo", "apo_zero"] = "sigmoid"
    """Loss of a pair: DPO's own, or of robust DPO (arXiv:2403.00409), SLiC (2305.10425), IPO (2310.12036), APO (2408.06266)."""

    beta: Factor = 0.1
    """Factor of the log-ratios to the reference; for IPO the strength of its regularisation."""

    label_smoothing: Annotated[float, Range(0, 0.5, is_under=True)] = 0.0
    """Assumed fraction of pairs whose labels are swapped, below 0.5; of the loss robust."""

    sft: Annotated[float, Range(0, 1e6)] = 0.0
    """Factor of the mean cross-entropy of the tokens of the chosen answer, which is added to the loss of a pair."""

    length_normalised: bool = False
    """Divide the log-ratio of an answer by its number of tokens; ipo always does."""

    def __post_init__(self) -> None:
        """Refuse values without meaning or effect.

        Raises:
            RecipeError: names the first of them.
        """
        if self.label_smoothing and self.loss != "robust":
            raise RecipeError(
                f"dpo.label_smoothing is {self.label_smoothing:g} and dpo.loss is {self.loss}, which has none -- expected "
                f"loss: robust -- leave it out, or choose robust"
            )
        if self.loss == "robust" and not self.label_smoothing:
            raise RecipeError(
                "dpo.loss is robust and dpo.label_smoothing is 0, which is sigmoid -- expected a fraction of swapped labels -- "
                "set label_smoothing, or choose sigmoid"
            )
        if self.loss == "ipo" and self.length_normalised:
            raise RecipeError(
                "dpo.length_normalised has no effect with loss: ipo, which always divides by the length; leave it out"
            )


@dataclass(frozen=True)
class GrpoConfig:
    """Answers, rewards and loss of a stage with ``objective: grpo``.

    Source: arXiv:2402.03300, section 4.1; on-policy, one update for every batch of answers.
    """

    rewards: dict[str, Weight] = field(default_factory=dict)
    """Reward -> weight: metrics of single answers, an error rate as 1 - rate, and `format`, the form of the reference."""

    num_answers: Annotated[int, Range(2, 1024)] = 8
    """Answers sampled to every question."""

    max_new_tokens: Annotated[int, Range(1, 100_000)] = 64
    """Maximum length of a sampled answer."""

    temperature: Annotated[float, Range(0, 100, is_over=True)] = 1.0
    """Divisor of the logits, in sampling and in the loss."""

    scale: Literal["group", "none"] = "group"
    """Divide the advantages of the answers to a question by the standard deviation of their rewards, or do not (2503.20783)."""

    loss: Literal["grpo", "dapo"] = "grpo"
    """Mean over tokens and then over answers, or over the tokens of all answers (arXiv:2503.14476)."""

    kl: Annotated[float, Range(0, 1e6)] = 0.0
    """Factor of the KL divergence from the weights that the stage starts from, which then stay in memory; 0 for none."""

    def __post_init__(self) -> None:
        """Refuse rewards that do not exist, or are no fractions.

        Raises:
            RecipeError: names the first of them.
        """
        if not any(self.rewards.values()):
            raise RecipeError(
                f"grpo.rewards is {self.rewards} -- expected rewards with weights -- set some, such as {{acc: 1}}"
            )
        for name in self.rewards:
            if name != FORMAT and (metric := find_metric(name)).unit:
                raise RecipeError(
                    f"grpo.rewards has {name!r}, which is measured in {metric.unit} -- expected a metric between 0 and 1 -- "
                    f"take another, such as acc, wer or event_f1"
                )


class AnswerRule(NamedTuple):
    """Answers of the examples of a stage."""

    is_paired: bool = False
    """Each has a rejected answer too."""

    num_sampled: int = 0
    """Answers that are sampled to each question, which then has none."""

    max_new_tokens: int = 0
    """Maximum length of a sampled answer."""


GIVEN = AnswerRule()
