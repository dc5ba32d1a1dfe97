"""Measure checkpoints: time for which synchronous and asynchronous saves block training, and memory of each rank.

The model is a stack of linear layers, all trained with AdamW; files are written to the disk of the working folder.
"""

import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from audio_lm.checkpoints import state
from audio_lm.checkpoints.async_saver import Saver
from audio_lm.checkpoints.process_group import Group
from audio_lm.checkpoints.writer import CheckpointWriter
from audio_lm.common.audio_units import Seconds

WIDTH, NUM_LAYERS = 1024, 16
NUM_SAVES = 4
START = "spawn"  # start method of the processes of several ranks
SAVE_INTERVAL: Seconds = 300.0
"""Time between two saves, for ``share_of_training``."""


@dataclass(frozen=True)
class CheckpointFigures:
    """Figures of ``audio-lm bench checkpoint``."""

    megabytes: float
    """Size of a checkpoint: weights and both moments."""

    synchronous_s: Seconds
    """Time for which a synchronous save blocks training: write, read back, seal, move."""

    asynchronous_s: Seconds
    """Time for which an asynchronous save blocks training: the copy in memory."""

    blocked_share: float
    """Blocking time of an asynchronous save over that of a synchronous one."""

    share_of_training: float
    """Fraction of the time spent in synchronous saves, with one save every 5 minutes."""

    trained_bytes_1: int
    """Bytes of weights, gradients and moments on a single rank."""

    trained_bytes_2: int
    """The same on each of two ranks."""

    trained_bytes_4: int
    """The same on each of four ranks."""


def bench_checkpoint(folder: Path | None = None) -> CheckpointFigures:
    """Measure all figures.

    Args:
        folder: folder on the disk to measure; None takes the working folder.
    """
    model, optimizer = _train_step(_stack())
    tensors = {**state.weights(model, _names(model)), **state.optimizer_values(model, optimizer)}
    with tempfile.TemporaryDirectory(dir=folder or Path(), prefix=".bench-") as path:
        synchronous, num_bytes = _time_saves(Path(path) / "synchronous", tensors, is_asynchronous=False)
        asynchronous, _ = _time_saves(Path(path) / "asynchronous", tensors, is_asynchronous=True)
    return CheckpointFigures(
        megabytes=num_bytes / 1e6,
        synchronous_s=synchronous,
        asynchronous_s=asynchronous,
        blocked_share=asynchronous / synchronous,
        share_of_training=synchronous / SAVE_INTERVAL,
        trained_bytes_1=_trained_bytes(model, optimizer),
        trained_bytes_2=_max_trained_bytes(2),
        trained_bytes_4=_max_trained_bytes(4),
    )


def _stack() -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(NUM_LAYERS)))


def _train_step(model: nn.Sequential) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    """Train one step, so that there are moments; gradients are not cleared."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model(torch.ones(2, WIDTH)).square().mean().backward()
    optimizer.step()
    return model, optimizer


def _names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters()]


def _time_saves(folder: Path, tensors: Mapping[str, Any], *, is_asynchronous: bool) -> tuple[Seconds, int]:
    """Median blocking time of a save, and its bytes; the first save is ignored, because it allocates buffers."""
    sizes: list[int] = []
    saver = Saver(
        CheckpointWriter(folder, Group()),
        is_asynchronous=is_asynchronous,
        report=_raise_error,
        when_saved=lambda checkpoint, _: sizes.append(checkpoint.manifest.num_bytes),
    )
    seconds = []
    for step in range(NUM_SAVES):
        start = time.perf_counter()
        saver.save(tensors, step=step, facts={}, progress={})
        seconds.append(time.perf_counter() - start)
        saver.finish()
    return statistics.median(seconds[1:]), sizes[-1]


def _raise_error(message: str) -> None:
    raise RuntimeError(message)  # the saver reports only failures; a failed save must not be timed


def _trained_bytes(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    moments = (value for values in optimizer.state.values() for value in values.values())
    gradients = (parameter.grad for parameter in model.parameters() if parameter.grad is not None)
    return sum(map(_local_bytes, (*model.parameters(), *gradients, *moments)))


def _local_bytes(value: torch.Tensor) -> int:
    local = value.to_local() if isinstance(value, DTensor) else value
    return local.numel() * local.element_size()


def _max_trained_bytes(num_ranks: int) -> int:
    """Maximum over ranks of the local bytes of a model that is sharded with FSDP2."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context: Any = multiprocessing.get_context(START)
    results = context.SimpleQueue()
    arguments = (num_ranks, port, WIDTH, NUM_LAYERS, results.put)
    processes = [context.Process(target=_run_rank, args=(rank, *arguments)) for rank in range(num_ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError(
            f"{num_ranks} ranks ended with exit codes {[process.exitcode for process in processes]}; see the error above"
        )
    return max(results.get() for _ in processes)


class PutBytes(Protocol):
    """Queue that receives a number of bytes."""

    def __call__(self, num_bytes: int, /) -> object:
        """Put it."""


def _run_rank(rank: int, num_ranks: int, port: int, width: int, num_layers: int, put: PutBytes) -> None:
    """Train one step of the sharded model and report the local bytes of this rank."""
    global WIDTH, NUM_LAYERS
    WIDTH, NUM_LAYERS = width, num_layers
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=num_ranks)
    mesh = init_device_mesh("cpu", (num_ranks,))
    model = _stack()
    for layer in model:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    put(_trained_bytes(*_train_step(model)))
    distributed.destroy_process_group()
