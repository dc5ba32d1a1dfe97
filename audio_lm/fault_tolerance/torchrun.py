"""torchrun for one machine: the command itself starts a process per device; several machines need torchrun or SLURM.

It differs from torchrun in three points: the exit code is that of the first rank that failed, torchrun's table
of failures does not hide the error message of a rank, and no port is open to other machines.
"""

import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from audio_lm.common.runtime import num_cores
from audio_lm.fault_tolerance.exit_status import FAULT, INTERRUPTED, STOPPED_BY_SIGNAL
from audio_lm.fault_tolerance.launcher_env import FRESH_STORE

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

LOOPBACK = "127.0.0.1"
LOOPBACK_INTERFACE = "lo" if sys.platform == "linux" else "lo0"
LISTENING = "0A"  # state of a socket in /proc/net/tcp
EVERY_ADDRESS = ("00000000", 32 * "0")


def needs_torchrun(num_devices: int, num_nodes: int, environment: Mapping[str, str] = os.environ) -> bool:
    """True if a recipe needs several processes on one machine and no launcher has started them."""
    return num_devices > 1 and num_nodes == 1 and "WORLD_SIZE" not in environment


def exec_torchrun(num_devices: int, arguments: Sequence[str]) -> None:
    """Replace this process by a torchrun agent with ``num_devices`` ranks; does not return.

    Args:
        arguments: of ``audio-lm`` in every rank.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    command = [
        sys.executable,
        "-m",
        "audio_lm.fault_tolerance.torchrun",
        *torchrun_arguments(num_devices, arguments),
    ]
    os.execve(sys.executable, command, {**os.environ, **ranks_environment(num_devices)})


def torchrun_arguments(num_devices: int, arguments: Sequence[str]) -> list[str]:
    """Arguments of torchrun for ranks on one machine."""
    rendezvous = [
        "--rdzv-backend=c10d",
        "--rdzv-conf=store_type=file",
        f"--local-addr={LOOPBACK}",
        "--nnodes=1",
    ]
    return [*rendezvous, f"--nproc-per-node={num_devices}", "-m", "audio_lm.cli.main", *arguments]


def ranks_environment(num_devices: int) -> dict[str, str]:
    """Environment of ranks on one machine: rendezvous over loopback, cores divided; variables that are set stay."""
    defaults = {
        FRESH_STORE: "1",
        "OMP_NUM_THREADS": str(max(1, num_cores() // num_devices)),
        "GLOO_SOCKET_IFNAME": LOOPBACK_INTERFACE,
    }
    return {name: value for name, value in defaults.items() if name not in os.environ}


def is_one_machine(environment: Mapping[str, str] = os.environ) -> bool:
    """True if all ranks are on this machine: the local world size is the world size, or the master is on loopback."""
    address = environment.get("MASTER_ADDR", "")
    is_loopback = address in ("localhost", "::1") or address.startswith("127.")
    return is_loopback or environment.get("LOCAL_WORLD_SIZE") == environment.get("WORLD_SIZE")


def own_store(patience: timedelta, environment: Mapping[str, str] = os.environ) -> "TCPStore | None":
    """Store for the ranks of one machine that other machines cannot reach; None to use the store of torch.

    Args:
        patience: timeout for ranks that arrive late.
    """
    is_agent_store = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not is_one_machine(environment) or is_agent_store:
        return None
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    port, size = int(environment["MASTER_PORT"]), int(environment["WORLD_SIZE"])
    if environment["RANK"] != "0":
        return TCPStore(LOOPBACK, port, size, is_master=False, timeout=patience)
    # By default the store listens on every address.
    listener = socket.create_server((LOOPBACK, port)).detach()
    return TCPStore(LOOPBACK, port, size, is_master=True, timeout=patience, master_listen_fd=listener)


def listens_everywhere(pid: int) -> bool:
    """True if a process of this machine has a port open to other machines; False if that is unknown.

    torchrun has no option for the address that its store listens on. Source: man proc, /proc/pid/net/tcp.
    """
    try:
        sockets = {_target(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
        tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    except OSError:
        return False
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return any(
        row[3] == LISTENING and row[1].partition(":")[0] in EVERY_ADDRESS and f"socket:[{row[9]}]" in sockets
        for row in rows
    )


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # closed since the folder was listed
        return ""


def main(arguments: Sequence[str]) -> int:
    """Run torchrun; returns the exit code."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        with TemporaryDirectory(prefix="audio_lm-") as folder:
            run.main([f"--rdzv-endpoint={folder}/ranks", *arguments])
    except ChildFailedError as failed:
        code = failed.get_first_failure()[1].exitcode
        return code if code > 0 else FAULT
    except SignalException as stopped:
        return INTERRUPTED if stopped.sigval == signal.SIGINT else STOPPED_BY_SIGNAL
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
