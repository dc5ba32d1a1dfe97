"""What a checkpoint costs: seconds that training waits, written at once or while it goes on, and memory of every rank.

The model is a stack of linear layers with AdamW, all of it trained; files go to the working folder's disk.
"""

import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
START = "spawn"  # of the processes of several ranks
BETWEEN: Seconds = 300.0
"""One save in so many seconds is what a share is taken of."""


@dataclass(frozen=True)
class CheckpointFigures:
    """What was measured."""

    megabytes: float
    """Of a checkpoint: weights and both moments."""

    synchronous_s: Seconds
    """Written, read back, sealed and moved, while training waits."""

    asynchronous_s: Seconds
    """Training waits for the copy in memory."""

    blocked_share: float
    """Of the seconds of a synchronous save, those that an asynchronous one blocks."""

    share_of_training: float
    """Of the time, if nothing of one save in 5 minutes happened beside the training."""

    trained_bytes_1: int
    """Weights, gradients and moments that a rank holds alone."""

    trained_bytes_2: int
    """Each of two."""

    trained_bytes_4: int
    """Each of four."""


def bench_checkpoint(folder: Path | None = None) -> CheckpointFigures:
    """Measure everything once.

    Args:
        folder: on the disk that is asked about; the working folder, unless given.
    """
    model, optimizer = _stepped(_stack())
    tensors = {**state.weights(model, _names(model)), **state.optimizer_values(model, optimizer)}
    with tempfile.TemporaryDirectory(dir=folder or Path(), prefix=".bench-") as place:
        at_once, num_bytes = _blocked(Path(place) / "at-once", tensors, is_asynchronous=False)
        beside, _ = _blocked(Path(place) / "beside", tensors, is_asynchronous=True)
    return CheckpointFigures(
        megabytes=num_bytes / 1e6,
        synchronous_s=at_once,
        asynchronous_s=beside,
        blocked_share=beside / at_once,
        share_of_training=at_once / BETWEEN,
        trained_bytes_1=_trained_bytes(model, optimizer),
        trained_bytes_2=_bytes_of_each(2),
        trained_bytes_4=_bytes_of_each(4),
    )


def _stack() -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(NUM_LAYERS)))


def _stepped(model: nn.Sequential) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    """After one step, so that there are moments, and gradients are still there."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model(torch.ones(2, WIDTH)).square().mean().backward()
    optimizer.step()
    return model, optimizer


def _names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters()]


def _blocked(folder: Path, tensors: Mapping[str, Any], *, is_asynchronous: bool) -> tuple[Seconds, int]:
    """Median of the seconds a save takes from its caller, the first left out, for it finds no memory; and its bytes."""
    sizes: list[int] = []
    saver = Saver(
        CheckpointWriter(folder, Group()),
        is_asynchronous=is_asynchronous,
        report=_no_word,
        when_saved=lambda checkpoint, _: sizes.append(checkpoint.manifest.num_bytes),
    )
    seconds = []
    for step in range(NUM_SAVES):
        began = time.perf_counter()
        saver.save(tensors, step=step, facts={}, progress={})
        seconds.append(time.perf_counter() - began)
        saver.finish()
    return statistics.median(seconds[1:]), sizes[-1]


def _no_word(said: str) -> None:
    raise RuntimeError(said)  # nothing is measured where nothing is saved


def _trained_bytes(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    moments = (value for values in optimizer.state.values() for value in values.values())
    gradients = (parameter.grad for parameter in model.parameters() if parameter.grad is not None)
    return sum(map(_own_bytes, (*model.parameters(), *gradients, *moments)))


def _own_bytes(value: torch.Tensor) -> int:
    own = value.to_local() if isinstance(value, DTensor) else value
    return own.numel() * own.element_size()


def _bytes_of_each(num_ranks: int) -> int:
    """The most that one of so many ranks holds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context: Any = multiprocessing.get_context(START)
    answers = context.SimpleQueue()
    arguments = (num_ranks, port, WIDTH, NUM_LAYERS, answers.put)
    ranks = [context.Process(target=_hold, args=(number, *arguments)) for number in range(num_ranks)]
    for one in ranks:
        one.start()
    for one in ranks:
        one.join()
    if any(one.exitcode for one in ranks):
        raise RuntimeError(
            f"a rank of {num_ranks} ended with {[one.exitcode for one in ranks]}; its error stands above"
        )
    return max(answers.get() for _ in ranks)


def _hold(
    number: int, num_ranks: int, port: int, width: int, num_layers: int, answer: Callable[[int], None]
) -> None:
    """What a rank of a sharded training holds."""
    global WIDTH, NUM_LAYERS
    WIDTH, NUM_LAYERS = width, num_layers
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=number, world_size=num_ranks)
    mesh = init_device_mesh("cpu", (num_ranks,))
    model = _stack()
    for layer in model:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    answer(_trained_bytes(*_stepped(model)))
    distributed.destroy_process_group()
