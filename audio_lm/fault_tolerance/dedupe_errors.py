"""One mistake is said once, however many ranks of a machine have found it.

Whoever finds it first says it; so a mistake that only one rank can see is said too. Ranks that have not met yet
have nothing in common but who started them, so the word is taken by an empty file among those of the system.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from audio_lm.common.rng import key_of
from audio_lm.fault_tolerance.processes import start_time_of


def is_first_to_report(sentence: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether no other rank of this machine and this start has said so."""
    start = _start(os.getppid(), environment)
    if not start:
        return True
    path = Path(tempfile.gettempdir()) / f"audio-lm-{key_of('said', start, sentence):016x}"
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True  # no room for the file: better twice than never
    return True


def _start(parent: int, environment: Mapping[str, str]) -> str:
    """What ranks share that one parent has begun together; empty where there is one, or they may have been begun by hand."""
    if environment.get("WORLD_SIZE", "1") == "1":
        return ""
    names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID", "SLURM_STEP_ID")
    known = {name: environment[name] for name in names if name in environment}
    born = start_time_of(parent)
    return f"{parent} {born} {sorted(known.items())}" if known and born else ""
