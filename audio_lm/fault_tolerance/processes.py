"""Processes and their parents: nobody outlives who started it.

A launcher that is killed cannot end its workers any more, and they would go on
writing beside the restarted run; so each one asks the kernel to be killed with it.
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
    """Have the kernel kill this process when the thread that started it ends; Linux alone can."""
    if not Path("/proc/self").exists():
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it had died before we asked
        os._exit(1)


def init_data_worker(number: int) -> None:
    """What a data worker does first: it dies with its rank, and leaves being told to stop to it."""
    die_with_parent()
    for told in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(told, signal.SIG_IGN)


def end_data_workers() -> None:
    """Kill them: Python waits at its exit for those it has asked to end, and ours do not hear that."""
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


def state_of(pid: int) -> str:
    """The letter that the kernel has for what a process does: R, S, D, T (stopped), Z; empty when it is gone.

    >>> state_of(os.getpid())
    'R'
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]


def boot() -> str:
    """What names the time since this machine was switched on; empty where that is not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def since_boot() -> Seconds:
    """The time on a clock that nobody sets, the same for all processes between two boots."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def start_time_of(pid: int) -> Seconds:
    """When a process began, on the clock of ``since_boot``; 0 when that is not known."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    return int(text.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def parent_of(pid: int) -> int:
    """Who started a process, or took it over; 0 when it is gone.

    >>> parent_of(os.getpid()) == os.getppid()
    True
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])


def is_alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    return state_of(pid) not in ("", "Z")
