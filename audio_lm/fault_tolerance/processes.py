"""Process lifetime: no process outlives its parent.

A killed launcher cannot stop its workers any more, and they would keep writing beside the restarted run.
So each worker requests a signal from the kernel at the death of its parent.
"""

import ctypes
import multiprocessing
import os
import signal
import time
from pathlib import Path

from audio_lm.common.audio_units import Seconds

PR_SET_PDEATHSIG = 1  # Source: man 2 prctl


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends; only Linux supports this."""
    if not Path("/proc/self").exists():
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent died before the request
        os._exit(1)


def init_data_worker(number: int) -> None:
    """Initialise a data worker: it dies with its rank, and leaves stop signals to the rank."""
    die_with_parent()
    for stop_signal in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(stop_signal, signal.SIG_IGN)


def end_data_workers() -> None:
    """Kill the data workers: at exit Python sends them SIGTERM and waits, but they ignore SIGTERM."""
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


def state_of(pid: int) -> str:
    """Kernel state of a process, one letter: R, S, D, T (stopped), Z; empty if the process is gone.

    >>> state_of(os.getpid())
    'R'
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]


def boot_id() -> str:
    """Id of the current boot of this machine; empty if unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def since_boot() -> Seconds:
    """Time since boot: a clock that nobody sets, the same for all processes of the machine."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def start_time_of(pid: int) -> Seconds:
    """Start time of a process, on the clock of ``since_boot``; 0 if unknown."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    return int(text.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def parent_of(pid: int) -> int:
    """Parent of a process, or the process that adopted it; 0 if the process is gone.

    >>> parent_of(os.getpid()) == os.getppid()
    True
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])


def is_alive(pid: int) -> bool:
    """True if a process exists and is not a zombie."""
    return state_of(pid) not in ("", "Z")
