"""Process groups of a run: one for collectives, one to wait in for hours, one for a number per step.

The first rank alone prepares corpora and evaluates benchmarks, which may take hours; a collective of all ranks must
fail soon when a rank is lost. So the default group has a short timeout, and waiting has a group of its own with a long
one. The number that ranks agree on in every step has a third group, so that no other traffic delays it.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh

from audio_lm.common import compat
from audio_lm.common.audio_units import Seconds
from audio_lm.common.env import is_main, rank, world_size
from audio_lm.common.errors import AlreadyReportedError, UserError
from audio_lm.fault_tolerance.torchrun import LOOPBACK_INTERFACE, is_one_machine, own_store

MAX_WAIT = timedelta(days=7)
FIRST_TIMEOUT: Seconds = 1800.0
POLL_INTERVAL: Seconds = 0.05  # between two checks of a rank that waits; signal handlers run in between
BACKEND = {
    "cpu": "gloo",
    "gpu": "cpu:gloo,cuda:nccl",
}  # single numbers are reduced on the CPU, without a device sync


class WhileWaiting(Protocol):
    """Function that a waiting rank calls at every check."""

    def __call__(self) -> object: ...


class ProcessGroups:
    """Context of the process groups of a run; without effect for a single process.

    Args:
        accelerator: ``cpu`` or ``gpu``; decides the backend.
        timeout: of collectives, until ``set_timeout`` changes it.
    """

    def __init__(self, accelerator: str, timeout: Seconds = FIRST_TIMEOUT) -> None:
        self.accelerator = accelerator
        self.timeout = timedelta(seconds=timeout)
        self._timed: list[distributed.ProcessGroup] = []

    def __enter__(self) -> Self:
        """Join the other ranks.

        Raises:
            UserError: the accelerator is a GPU, and torch finds none.
        """
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise UserError(
                f"hardware.accelerator is 'gpu', and torch {torch.__version__} finds no CUDA device -- expected one -- set "
                f"use.hardware=cpu, or see nvidia-smi and the installed build of torch"
            )
        if world_size() > 1:
            store = own_store(self.timeout)
            if is_one_machine():
                os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK_INTERFACE)
            # Without a store of our own, torch reads rank and world size from the environment.
            number, size = (-1, -1) if store is None else (rank(), world_size())
            distributed.init_process_group(
                BACKEND[self.accelerator], timeout=self.timeout, store=store, rank=number, world_size=size
            )
            self._waiting_group = distributed.new_group(backend="gloo", timeout=MAX_WAIT)
            self._number_group = distributed.new_group(backend="gloo", timeout=self.timeout)
            self._timed = [self._number_group]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # After an error the other ranks may be in any collective; their launcher ends them.
        if world_size() > 1 and error is None:
            distributed.destroy_process_group()

    def agree_on_max(self, number: int) -> int:
        """Largest number over all ranks; a collective, cheap enough for every step."""
        if world_size() == 1:
            return number
        numbers = torch.tensor([number])
        distributed.all_reduce(numbers, distributed.ReduceOp.MAX, group=self._number_group)
        return int(numbers)

    def wait(self, number: int = 0, while_waiting: WhileWaiting = lambda: None) -> int:
        """Wait for all ranks, for hours if need be; returns the largest of their numbers.

        Args:
            while_waiting: called at every check.
        """
        if world_size() == 1:
            return number
        numbers = torch.tensor([number])
        work = distributed.all_reduce(
            numbers, distributed.ReduceOp.MAX, group=self._waiting_group, async_op=True
        )
        while not work.is_completed():
            time.sleep(POLL_INTERVAL)
            while_waiting()
        work.wait()
        return int(numbers)

    def include(self, mesh: DeviceMesh | None) -> None:
        """Apply the timeout to the groups of a device mesh too."""
        if mesh is not None and world_size() > 1:
            groups = mesh.get_all_groups()
            self._timed += groups
            for group in groups:
                compat.set_group_timeout(self.timeout, group)

    def set_timeout(self, seconds: Seconds) -> None:
        """Set the timeout of all collectives but ``wait``."""
        if world_size() > 1:
            for group in (None, *self._timed):
                compat.set_group_timeout(timedelta(seconds=seconds), group)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Context that the first rank runs, and after it the others, which find its files.

        Raises:
            AlreadyReportedError: the first rank raised a ``UserError``, and reports it.
        """
        if not is_main() and self.wait():
            raise AlreadyReportedError("the first rank found an error of the user's and reports it")
        try:
            yield
        except UserError:
            if is_main():
                with suppress(RuntimeError):  # a rank that has ended needs no answer
                    self.wait(1)
            raise
        if is_main():
            self.wait()
