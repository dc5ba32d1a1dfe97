"""Settings of the synthetic corpus, shared by all subsets."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SyntheticSettings:
    """Numbers of clips, and the seed."""

    clips: Mapping[str, int] = field(default_factory=dict)
    """Subset -> number of training clips; other subsets are not written. If empty, all subsets with default sizes."""

    validation_clips: int = 128
    """Number of clips in each validation split."""

    test_clips: int = 256
    """Number of clips in each test split."""

    word_copies: int = 1
    """Number of text rows in audio places for each training clip."""

    seed: int = 0
    """Seed of all random choices."""

    def num_clips(self, subset: str, split: str) -> int:
        """Number of clips in a split (train, validation or test) of a subset."""
        if not self.clips.get(subset, 0):
            return 0
        return {"train": self.clips[subset], "validation": self.validation_clips, "test": self.test_clips}[
            split
        ]
