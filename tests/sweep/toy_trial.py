"""Toy run of a trial: ``python toy_trial.py FOLDER SEED STEPS``; a chain of hashes with a checkpoint after every step.

Its result shows whether it continued exactly: every step hashes the one before. Two toys at once in one folder leave a file.
It imports nothing but the standard library, so that many can be killed in a second.
"""

import fcntl
import hashlib
import json
import os
import sys
import time
from pathlib import Path

METRIC = "toy/score"


def put(path, content):
    path.with_suffix(".new").write_text(json.dumps(content))
    os.replace(path.with_suffix(".new"), path)


def main(folder, seed, steps):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            (folder / "overlap").touch()
            raise
        checkpoint = folder / "checkpoint.json"
        step, text = json.loads(checkpoint.read_text()) if checkpoint.exists() else (0, seed)
        with (folder / "starts").open("a") as starts:
            starts.write(f"{step}\n")
        while step < steps:
            time.sleep(0.02)
            step, text = step + 1, hashlib.sha256(text.encode()).hexdigest()
            put(checkpoint, [step, text])
        put(folder / "scores.json", {METRIC: int(text[:8], 16) / 16**8})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
