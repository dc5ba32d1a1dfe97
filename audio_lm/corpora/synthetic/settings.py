"""What can be set about the synthetic corpus; the subset modules read the same object."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SyntheticSettings:
    """How much is made, and from which seed."""

    clips: Mapping[str, int] = field(default_factory=dict)
    """Subset -> clips of its training split; a subset that is not named is not made. Empty: all of them."""

    validation_clips: int = 128
    """Clips of every validation split."""

    test_clips: int = 256
    """Clips of every test split."""

    word_copies: int = 1
    """Rows of text in audio places for each training clip."""

    seed: int = 0
    """Of everything."""

    def num_clips(self, subset: str, split: str) -> int:
        """How many clips a split of a subset has; splits are train, validation and test."""
        if not self.clips.get(subset, 0):
            return 0
        return {"train": self.clips[subset], "validation": self.validation_clips, "test": self.test_clips}[
            split
        ]
