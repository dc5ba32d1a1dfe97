"""CPU of this machine: cores that this process may use, and instructions for bf16."""

import os
import re
import sys
from pathlib import Path

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


def num_cores() -> int:
    """Number of CPU cores that this process may use; respects CPU affinity on Linux."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def has_bf16_instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """True if the CPU has bf16 matrix instructions; without them bf16 products are slower than fp32."""
    if not cpuinfo.is_file():
        return False
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)
    return flags is not None and not BF16_FLAGS.isdisjoint(flags[1].split())
