"""Who started this process: torchrun, SLURM or a person.

Source: torch.distributed.elastic's environment, torch 2.13.
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
    """One start of a job, which may begin its processes again."""

    id: str
    """Of the job; empty when a person started a single process."""

    is_elastic: bool
    """Whether an agent of torchrun is our parent."""

    max_restarts: int = 0
    """How often it would begin its processes again."""

    began: Moment = NEVER
    """When the agent began; an agent counts its own restarts, but not those of others."""


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
        began=start_of(os.getppid()),
    )


def check_launch(launch: Launch, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a launcher whose restarts would meet under the addresses of the processes that died.

    Raises:
        UserError: says what to set.
    """
    if launch.max_restarts and environment.get(FRESH_STORE) != "1":
        raise UserError(
            f"torchrun --max-restarts {launch.max_restarts} keeps the addresses of dead processes, so a restart hangs; "
            f"expected {FRESH_STORE}=1 in its environment; put it in front of torchrun, with --rdzv-backend c10d"
        )


def stop_agent(launch: Launch, *, is_cause: bool = False) -> None:
    """Tell torchrun, our parent, not to begin again; one rank of a node does, and the one that is the cause."""
    if launch.is_elastic and (is_cause or os.environ.get("LOCAL_RANK", "0") == "0"):
        stop_torchrun(os.getppid())


def stop_torchrun(pid: int) -> None:
    """Tell a process to stop if it is torchrun."""
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
