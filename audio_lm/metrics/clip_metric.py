"""Base classes of metrics, whose states are combined exactly over clips, batches and ranks.

A state is integers that are summed, or one result per clip. The value is therefore bit-identical for any order of
clips and any distribution over ranks. The text and label metrics of torchmetrics divide in single precision, so
they are not used here.
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
    """Metric of raw answers, markup included.

    ``update`` takes answers, references and languages, one of each per clip. A reference is a text, or a list of
    texts if the metric accepts several; the language is that of the references.
    """

    is_differentiable = False
    full_state_update = False

    @classmethod
    def check(cls, languages: Collection[str]) -> None:
        """Check before a run that references in these languages can be scored here.

        Raises:
            UserError: a package is not installed.
        """

    @classmethod
    def why_missing(cls) -> str:
        """Reason why a program of its own, outside Python, cannot be run here; empty if it can or there is none."""
        return ""


class SumMetric(ClipMetric):
    """Metric computed from integers that are summed over clips."""

    num_sums: ClassVar[int] = 2
    sums: Tensor  # (num_sums,) int64

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("sums", torch.zeros(self.num_sums, dtype=torch.int64), dist_reduce_fx="sum")

    @abstractmethod
    def count(self, answer: str, reference: Any, language: str) -> tuple[int, ...]:
        """Integers of one clip, ``num_sums`` of them."""

    @abstractmethod
    def value(self, *sums: Any, **_: Any) -> float:
        """Value of the metric from the sums over all clips; subclasses name the ``num_sums`` arguments."""

    def update(self, answers: Sequence[str], references: Sequence[Any], languages: Sequence[str]) -> None:
        clips = [self.count(*clip) for clip in zip(answers, references, languages, strict=True)]
        self.sums += torch.tensor(clips, dtype=torch.int64, device=self.device).sum(dim=0)

    def compute(self) -> Tensor:
        return torch.tensor(self.value(*self.sums.tolist()), dtype=torch.float64)


class ListMetric(ClipMetric):
    """Metric computed from one result per clip, in any order.

    The state is JSON lines, one per clip, as bytes in a tensor, so that texts can be gathered from ranks too.
    """

    lines: list[Tensor] | Tensor  # uint8; one tensor after the ranks were gathered

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("lines", [], dist_reduce_fx="cat")
        self.set_dtype(torch.uint8)  # dtype of the empty tensor that a rank without clips contributes

    @abstractmethod
    def clip(self, answer: str, reference: Any, language: str) -> Any:
        """Result of one clip, serializable as JSON."""

    @abstractmethod
    def value(self, clips: Sequence[Any]) -> float:
        """Value of the metric from the results of all clips, in any order."""

    def each(self, clips: Sequence[Any]) -> list[float] | None:
        """Value of each clip, if the metric is their mean; None if it is no mean of clips."""
        return None

    def update(self, answers: Sequence[str], references: Sequence[Any], languages: Sequence[str]) -> None:
        clips = (self.clip(*clip) for clip in zip(answers, references, languages, strict=True))
        lines = "".join(json.dumps(clip) + "\n" for clip in clips).encode()
        self.lines = [*self.lines, torch.tensor(bytearray(lines), dtype=torch.uint8, device=self.device)]

    def compute(self) -> Tensor:
        pieces = [self.lines] if isinstance(self.lines, Tensor) else self.lines
        lines = b"".join(piece.cpu().numpy().tobytes() for piece in pieces).splitlines()
        return torch.tensor(self.value([json.loads(line) for line in lines]), dtype=torch.float64)


def ratio(numerator: float, denominator: float, why_zero: str = "there are no answers") -> float:
    """Divide, with an error that explains a denominator of zero.

    Args:
        why_zero: clause for the message, the reason of the zero.

    Raises:
        DataError: the denominator is zero.
    """
    if not denominator:
        raise DataError(f"{why_zero}, so the metric is undefined; remove it from this benchmark")
    return numerator / denominator
