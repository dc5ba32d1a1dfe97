"""Settings of the objectives of a stage beside next-token prediction: preferences (DPO) and checkable rewards (GRPO)."""

from dataclasses import dataclass
from typing import Annotated, Literal

from audio_lm.common.errors import RecipeError
from audio_lm.common.ranges import Factor, Range

Objective = Literal["next_token", "dpo", "grpo"]
NEXT_TOKEN: Objective = "next_token"
DPO: Objective = "dpo"
GRPO: Objective = "grpo"


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
