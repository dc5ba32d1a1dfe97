"""Start of a trial's process, ``python -m audio_lm.sweep.child WORKER COMMAND...``: dies with its worker, runs the command.

The request to the kernel survives ``exec``, so it also holds for torchrun and srun, which ``audio-lm train`` may become.
"""

import os
import sys

from audio_lm.fault_tolerance.processes import die_with_parent

if __name__ == "__main__":
    die_with_parent()
    if os.getppid() != int(sys.argv[1]):  # the worker died before the request
        sys.exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])
