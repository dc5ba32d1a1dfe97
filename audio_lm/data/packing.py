"""Whole conversations up to a token budget, as a constraint of lhotse's samplers."""

from dataclasses import dataclass

from lhotse.cut import Cut
from lhotse.dataset.sampling.base import SamplingConstraint


@dataclass
class PackConstraint(SamplingConstraint):
    """Closes a pack when another conversation of the mean length would not fit.

    ``TimeConstraint`` counts the longest cut times their number, which is the
    cost of padding; a pack has none.
    """

    max_tokens: int
    """Positions of text and audio in one pack."""

    max_conversations: int | None = None
    """Conversations in one pack."""

    num_tokens: int = 0
    num_conversations: int = 0

    def add(self, example: Cut) -> None:
        """Count one more conversation."""
        self.num_tokens += int(self.measure_length(example))
        self.num_conversations += 1

    def exceeded(self) -> bool:
        """Whether the pack is over its budget."""
        return self.num_tokens > self.max_tokens

    def close_to_exceeding(self) -> bool:
        """Whether the pack is as full as it should be."""
        if self.max_conversations is not None and self.num_conversations >= self.max_conversations:
            return True
        return self.num_tokens * (1 + 1 / max(1, self.num_conversations)) > self.max_tokens

    def reset(self) -> None:
        """Begin the next pack."""
        self.num_tokens = self.num_conversations = 0

    def measure_length(self, example: Cut) -> float:
        """Positions of a conversation."""
        return len(example.custom["example"])
