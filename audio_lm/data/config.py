"""What is heard and how often, as it stands in ``conf/mixture/``."""

from dataclasses import dataclass, field
from typing import Literal

from audio_lm.errors import RecipeError


@dataclass(frozen=True)
class MixtureConfig:
    """Which tasks are heard, from where, and how much of each."""

    sources: dict[str, list[str]] = field(default_factory=dict)
    """Task, or ``chat`` -> cut-sets, ``corpus/subset-split``."""

    weights: dict[str, float] = field(default_factory=dict)
    """Task -> its share of what is drawn; need not sum to one. Zero leaves it out."""

    counts: Literal["clips"] = "clips"
    """What a weight counts."""

    def __post_init__(self) -> None:
        """Close both maps against each other."""
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


@dataclass(frozen=True)
class SpecAugmentConfig:
    """Holes in the log-mel. LibriSpeech Basic: W=80, F=27, mF=1, T=100, p=1, mT=1 (arXiv:1904.08779, table 1)."""

    time_warp: int = 80
    """Largest shift of the warping point, in frames; 0 switches it off."""

    frequency_width: int = 27
    """Widest band of mel bins that is hidden."""

    time_width: int = 100
    """Longest stretch of frames that is hidden."""

    time_share: float = 1.0
    """... but never more than this share of the clip."""
