"""Where we run and how chance is made: ranks, and random numbers keyed by purpose.

Randomness is never a state that somebody carries along. It is a function of a
seed and of what it is for, so that a restart, another number of workers or
another number of ranks draws the same numbers.
"""

import hashlib
import os
import re
import sys
from pathlib import Path

import numpy as np

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


def rank() -> int:
    """This process among all of the run; 0 where nothing was launched."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """This process among those of its node, and so the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes down what the run does."""
    return rank() == 0


def num_cores() -> int:
    """Of the CPU, as many as this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def multiplies_in_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU has instructions for matrix products in bf16; without them they are slower than in 32 bits."""
    if not cpuinfo.is_file():
        return False
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)
    return flags is not None and not BF16_FLAGS.isdisjoint(flags[1].split())


def key_of(*purpose: str | int) -> int:
    """A 63-bit number for a purpose; equal purposes give equal numbers on every machine.

    >>> key_of(0, "augment", 17) == key_of(0, "augment", 17) != key_of(0, "augment", 18)
    True
    """
    digest = hashlib.blake2b("\x1f".join(map(repr, purpose)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def random_for(*purpose: str | int) -> np.random.Generator:
    """A fresh generator whose numbers depend on nothing but its purpose."""
    return np.random.Generator(np.random.Philox(key=key_of(*purpose)))
