"""The processes of a run: opened together, waiting for each other without hurry.

What only the first one does (corpora, benchmarks) may take hours; what all do at
once may not. So there are groups: one whose collectives give up when a rank is
lost, a patient one to wait with, and one for the single number a step on which all
agree, which no other traffic holds up.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.distributed_c10d import _set_pg_timeout

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import AlreadyReportedError, UserError
from audio_lm.common.runtime import is_main, rank, world_size
from audio_lm.fault_tolerance.torchrun import LOOPBACK_INTERFACE, is_one_machine, own_store

PATIENCE = timedelta(days=7)
HURRY: Seconds = 1800.0
LOOK: Seconds = 0.05  # between two looks of who waits; signals are heard in between
BACKEND = {
    "cpu": "gloo",
    "gpu": "cpu:gloo,cuda:nccl",
}  # small numbers are added up on the CPU, without a sync


class ProcessGroups:
    """All processes of a run; nothing happens where there is one.

    Args:
        accelerator: what computes.
        hurry: after which a collective gives up, until ``hurry`` knows better.
    """

    def __init__(self, accelerator: str, hurry: Seconds = HURRY) -> None:
        self.accelerator = accelerator
        self.limit = timedelta(seconds=hurry)
        self._hurried: list[distributed.ProcessGroup] = []

    def __enter__(self) -> Self:
        if world_size() > 1:
            store = own_store(self.limit)
            if is_one_machine():
                os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK_INTERFACE)
            number, size = (-1, -1) if store is None else (rank(), world_size())  # or as torch finds them
            distributed.init_process_group(
                BACKEND[self.accelerator], timeout=self.limit, store=store, rank=number, world_size=size
            )
            self._patient = distributed.new_group(backend="gloo", timeout=PATIENCE)
            self._agreeing = distributed.new_group(backend="gloo", timeout=self.limit)
            self._hurried = [self._agreeing]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # After an error the others may be anywhere; whoever started them ends them.
        if world_size() > 1 and error is None:
            distributed.destroy_process_group()

    def agree_on_max(self, number: int) -> int:
        """The largest of what the ranks have, at the end of a step."""
        if world_size() == 1:
            return number
        numbers = torch.tensor([number])
        distributed.all_reduce(numbers, distributed.ReduceOp.MAX, group=self._agreeing)
        return int(numbers)

    def wait(self, number: int = 0, while_waiting: Callable[[], object] = lambda: None) -> int:
        """Until all are here, however long; the largest of what they bring.

        Args:
            while_waiting: called again and again.
        """
        if world_size() == 1:
            return number
        numbers = torch.tensor([number])
        work = distributed.all_reduce(numbers, distributed.ReduceOp.MAX, group=self._patient, async_op=True)
        while not work.is_completed():
            time.sleep(LOOK)
            while_waiting()
        work.wait()
        return int(numbers)

    def include(self, mesh: DeviceMesh | None) -> None:
        """Let what ``hurry`` says hold in the groups of a mesh too."""
        if mesh is not None and world_size() > 1:
            groups = mesh.get_all_groups()
            self._hurried += groups
            for group in groups:
                _set_pg_timeout(self.limit, group)

    def set_timeout(self, seconds: Seconds) -> None:
        """Give up on each other after so long."""
        if world_size() > 1:
            for group in (None, *self._hurried):
                _set_pg_timeout(timedelta(seconds=seconds), group)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """What is inside is done by the first rank, then by the others, who find it done.

        Raises:
            AlreadyReportedError: the first rank has found a mistake of the user's, and says it.
        """
        if not is_main() and self.wait():
            raise AlreadyReportedError("the first rank has found a mistake and says it")
        try:
            yield
        except UserError:
            if is_main():
                with suppress(RuntimeError):  # who is gone need not be told
                    self.wait(1)
            raise
        if is_main():
            self.wait()
