"""One encoded conversation; it has only integers, and making it needs no library of audio."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation ready to train on."""

    cut_id: str
    task: str
    position: int  # in the schedule of the stage; keys every random choice
    token_ids: list[int]
    is_learned: list[bool]
    audio_index: list[int]
    num_samples: tuple[int, ...]  # of each clip
    source: str = ""  # cut-set of the cut, for reports
    rejected: "Example | None" = None  # of a pair; without clips it has those of the chosen answer
    reference: tuple[float, float] | None = None  # log-probabilities of both answers under the reference
    target: tuple[str, str] | None = None  # reference answer and its language, if answers are sampled
    num_reserved: int = 0  # tokens of the sampled answers, each with a copy of the question

    def __len__(self) -> int:
        """Number of tokens in the pack, those of a rejected answer and of sampled ones included."""
        return len(self.token_ids) + (len(self.rejected) if self.rejected else 0) + self.num_reserved

    @property
    def documents(self) -> "list[Example]":
        """The conversation, and that with the rejected answer."""
        return [self, self.rejected] if self.rejected else [self]

    def without_labels(self) -> "Example":
        """Copy that is not learned."""
        rejected = self.rejected.without_labels() if self.rejected else None
        return replace(self, is_learned=[False] * len(self.is_learned), rejected=rejected, target=None)
