"""Results of steps that are still on the device, and are read together.

A process launches the kernels of a step long before the GPU runs them. To read a number it waits for the GPU, and then the
GPU waits for new kernels. So norms and losses of steps stay on the device until a step is logged or saved.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from audio_lm.common.packed_batch import PackedBatch
from audio_lm.training.losses import LossSums, TaskSums, read_together


class StepRecord(NamedTuple):
    """Results of a step on this rank."""

    step: int
    packs: Sequence[PackedBatch]
    """To be kept if the step is the last of too many with a gradient that is not finite."""

    norm: Tensor
    """Norm of the gradient, a scalar; NaN if it is not finite."""

    sums: Sequence[LossSums]
    """Of each pack."""

    measures: Sequence[Mapping[str, LossSums]]
    """Of each pack."""


class StepRecords:
    """Records of the steps since they were read last."""

    def __init__(self) -> None:
        self._records: list[StepRecord] = []

    def append(self, record: StepRecord) -> None:
        """Add a step, without reading it."""
        self._records.append(record)

    def read(self) -> Iterator[tuple[StepRecord, bool]]:
        """Records in the order of steps, and true for those with a finite gradient; reads all their values at once."""
        records, self._records = self._records, []
        if not records:
            return
        norms = torch.stack([record.norm for record in records])
        read_together(
            sums
            for record in records
            for sums in (*record.sums, *(each for of_pack in record.measures for each in of_pack.values()))
        )
        yield from zip(records, norms.isfinite().tolist(), strict=True)


def counted_sums(sums: Sequence[LossSums], norm: Tensor) -> list[LossSums]:
    """Sums of the packs of a step, zeros if its gradient is not finite; nothing is read.

    Sums of another kind than ``TaskSums``, which are on the host, are left out of a step whose norm is read.
    """
    is_counted = norm.isfinite()
    return [each.where(is_counted) if isinstance(each, TaskSums) else each for each in sums]
