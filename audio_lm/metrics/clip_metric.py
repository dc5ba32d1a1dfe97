"""What metrics of answers have in common: their states add up over clips, batches and ranks without loss.

A state is whole numbers that are summed, or what was found out about each clip. So the value is the same to the
last bit in whatever order clips come and whichever rank has them. torchmetrics' own metrics of texts and labels
divide in single precision, so these count for themselves.
"""

import json
from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from audio_lm.common.errors import DataError


class ClipMetric(Metric):
    """A metric of raw answers, markup included.

    ``update`` takes answers, references and languages, one of each for every clip. A reference is a text, or a list of
    texts where the metric takes several; the language is that of the references.
    """

    is_differentiable = False
    full_state_update = False

    @classmethod
    def check(cls, languages: Collection[str]) -> None:
        """Check before a run that references in these languages can be scored here.

        Raises:
            UserError: a package is not installed.
        """


class SumMetric(ClipMetric):
    """A function of whole numbers that are summed over clips."""

    num_sums: ClassVar[int] = 2
    sums: Tensor  # (num_sums,) int64

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("sums", torch.zeros(self.num_sums, dtype=torch.int64), dist_reduce_fx="sum")

    @abstractmethod
    def count(self, answer: str, reference: Any, language: str) -> tuple[int, ...]:
        """The whole numbers of one clip."""

    @abstractmethod
    def value(self, *sums: Any, **_: Any) -> float:
        """The metric, from the numbers of all clips; a class takes as many as it has."""

    def update(self, answers: Sequence[str], references: Sequence[Any], languages: Sequence[str]) -> None:
        clips = [self.count(*clip) for clip in zip(answers, references, languages, strict=True)]
        self.sums += torch.tensor(clips, dtype=torch.int64, device=self.device).sum(dim=0)

    def compute(self) -> Tensor:
        return torch.tensor(self.value(*self.sums.tolist()), dtype=torch.float64)


class ListMetric(ClipMetric):
    """A function of what was found out about each clip, in any order.

    The state is JSON, one clip a line: texts can then be gathered like numbers.
    """

    lines: list[Tensor] | Tensor  # uint8; one tensor after ranks were gathered

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("lines", [], dist_reduce_fx="cat")
        self.set_dtype(torch.uint8)  # of what a rank without clips has to gather

    @abstractmethod
    def clip(self, answer: str, reference: Any, language: str) -> Any:
        """What has to be known of one clip, as JSON."""

    @abstractmethod
    def value(self, clips: Sequence[Any]) -> float:
        """The metric, from all clips in any order."""

    def update(self, answers: Sequence[str], references: Sequence[Any], languages: Sequence[str]) -> None:
        clips = (self.clip(*clip) for clip in zip(answers, references, languages, strict=True))
        lines = "".join(json.dumps(clip) + "\n" for clip in clips).encode()
        self.lines = [*self.lines, torch.tensor(bytearray(lines), dtype=torch.uint8, device=self.device)]

    def compute(self) -> Tensor:
        pieces = [self.lines] if isinstance(self.lines, Tensor) else self.lines
        lines = b"".join(piece.cpu().numpy().tobytes() for piece in pieces).splitlines()
        return torch.tensor(self.value([json.loads(line) for line in lines]), dtype=torch.float64)


def ratio(part: float, whole: float, why_none: str = "there are no answers") -> float:
    """A share of something.

    Raises:
        DataError: of nothing.
    """
    if not whole:
        raise DataError(f"{why_none}, so the metric says nothing; take it off this benchmark")
    return part / whole
