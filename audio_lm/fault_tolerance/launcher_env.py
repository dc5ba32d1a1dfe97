"""Launcher of this process: torchrun, SLURM or a person at a shell.

Source: environment of torch.distributed.elastic, torch 2.13.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from audio_lm.common.errors import UserError
from audio_lm.fault_tolerance.clock import NEVER, Moment, start_of

FRESH_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"


@dataclass(frozen=True)
class Launch:
    """One start of a job, which may restart its processes."""

    id: str
    """Of the job; empty for a single process started by hand."""

    is_elastic: bool
    """True if the parent process is an agent of torchrun."""

    max_restarts: int = 0
    """Restarts that the agent allows."""

    agent_start: Moment = NEVER
    """Start of the agent. An agent counts its own restarts, but not those of other agents with the same id."""


def current_launch(environment: Mapping[str, str] = os.environ) -> Launch:
    """The launch that this process belongs to."""
    job = environment.get("SLURM_JOB_ID", "")
    restart = int(environment.get("SLURM_RESTART_COUNT", "0"))
    name = f"slurm-{job}-{restart}" if job else ""
    if "TORCHELASTIC_RUN_ID" not in environment:
        return Launch(name, is_elastic=False)
    return Launch(
        f"{name}/{environment['TORCHELASTIC_RUN_ID']}".lstrip("/"),
        is_elastic=True,
        max_restarts=int(environment.get("TORCHELASTIC_MAX_RESTARTS", "0")),
        agent_start=start_of(os.getppid()),
    )


def check_launch(launch: Launch, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a launcher whose restarted ranks would find the addresses of dead processes in the old store.

    Raises:
        UserError: the launcher restarts processes without a new store; names the variable to set.
    """
    if launch.max_restarts and environment.get(FRESH_STORE) != "1":
        raise UserError(
            f"torchrun --max-restarts {launch.max_restarts} keeps the addresses of dead processes, so a restart hangs; "
            f"expected {FRESH_STORE}=1 in its environment; put it in front of torchrun, with --rdzv-backend c10d"
        )


def stop_agent(launch: Launch, *, is_cause: bool = False) -> None:
    """Stop the agent of torchrun, so that it does not restart the ranks.

    One rank of a node does this, and the rank that failed.
    """
    if launch.is_elastic and (is_cause or os.environ.get("LOCAL_RANK", "0") == "0"):
        stop_torchrun(os.getppid())


def stop_torchrun(pid: int) -> None:
    """Send SIGTERM to a process if it is torchrun."""
    if _is_torchrun(pid):
        os.kill(pid, signal.SIGTERM)


def _is_torchrun(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return (
        b"torchrun" in command or b"torch.distributed.run" in command or b"torch/distributed/run" in command
    )
