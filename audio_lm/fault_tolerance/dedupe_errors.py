"""One report per error: ranks of one machine that find the same error print it once.

The first rank that finds an error reports it, so an error that only one rank can see is reported too. Ranks
without a process group share only their parent process, so they agree through an empty file in the system's
temporary folder.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from audio_lm.common.runtime import key_of
from audio_lm.fault_tolerance.processes import start_time_of


def is_first_to_report(sentence: str, environment: Mapping[str, str] = os.environ) -> bool:
    """True if no other rank of this machine and this start has reported the sentence."""
    start = _start_id(os.getppid(), environment)
    if not start:
        return True
    path = Path(tempfile.gettempdir()) / f"audio-lm-{key_of('reported', start, sentence):016x}"
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True  # the file cannot be created: reporting twice is better than never
    return True


def _start_id(parent: int, environment: Mapping[str, str]) -> str:
    """Identity of a start, equal on all ranks of one parent; empty for a single rank, or if ranks may be started by hand."""
    if environment.get("WORLD_SIZE", "1") == "1":
        return ""
    names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID", "SLURM_STEP_ID")
    known = {name: environment[name] for name in names if name in environment}
    started = start_time_of(parent)
    return f"{parent} {started} {sorted(known.items())}" if known and started else ""
