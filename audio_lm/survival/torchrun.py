"""One process for each device of this machine, begun by the command itself; several machines need torchrun or SLURM.

It is torchrun in all but two things: the exit code is that of the rank that ended first, and its table of
failures stays away from the sentence that a rank has said.
"""

import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from audio_lm.runtime import num_cores
from audio_lm.survival.exits import FAULT, INTERRUPTED, TOLD
from audio_lm.survival.launch import FRESH_STORE


def is_to_be_begun(num_devices: int, num_nodes: int, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a recipe wants several processes on one machine, and nobody has begun them."""
    return num_devices > 1 and num_nodes == 1 and "WORLD_SIZE" not in environment


def become_torchrun(num_devices: int, arguments: Sequence[str]) -> None:
    """Go on as the agent of so many ranks; does not return.

    Args:
        arguments: of ``audio-lm`` in every rank.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    command = [
        sys.executable,
        "-m",
        "audio_lm.survival.torchrun",
        *torchrun_arguments(num_devices, arguments),
    ]
    os.execve(sys.executable, command, {**os.environ, **ranks_environment(num_devices)})


def torchrun_arguments(num_devices: int, arguments: Sequence[str]) -> list[str]:
    """What torchrun is told."""
    rendezvous = ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--nnodes=1"]
    return [*rendezvous, f"--nproc-per-node={num_devices}", "-m", "audio_lm.cli", *arguments]


def ranks_environment(num_devices: int) -> dict[str, str]:
    """What the ranks of one machine need to meet, and not to be in each other's way."""
    wanted = {
        FRESH_STORE: "1",
        "OMP_NUM_THREADS": str(max(1, num_cores() // num_devices)),
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
    }
    return {name: value for name, value in wanted.items() if name not in os.environ}


def main(arguments: Sequence[str]) -> int:
    """Carry torchrun out; gives the exit code."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        run.main(list(arguments))
    except ChildFailedError as failed:
        code = failed.get_first_failure()[1].exitcode
        return code if code > 0 else FAULT
    except SignalException as told:
        return INTERRUPTED if told.sigval == signal.SIGINT else TOLD
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
