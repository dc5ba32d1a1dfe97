"""A short run of the demo recipe on one GPU, by the command that a user types."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from audio_lm.bench.gpu.parts import Task

CLIPS = (
    "digits",
    "phrases",
    "commands",
    "spoken_questions",
    "events",
    "notes",
    "dialogues",
    "dialogues_text",
    "several",
    "spoken",
    "preferences",
)
NUM_CLIPS, NUM_TEST_CLIPS = 200, 16
STEPS = {"language": 40, "pretrain": 80, "chat": 60, "prefer": 20}
LAST_LINES = 25
PROGRAM = "-m", "audio_lm.cli"
LEFT_FOR_THE_END = 8.0  # seconds, to write a checkpoint after a signal


class RunFailed(Exception):  # noqa: N818
    """The run ended with an error."""


def run_demo(task: Task) -> None:
    """Train the demo in a temporary folder, and hand over exit code, time and the last lines of its output.

    A run that needs longer is stopped with a signal, and has to write a checkpoint.

    Raises:
        RunFailed: it ended with an error.
    """
    arguments = ["train", "demo", *overrides(task)]
    command = [sys.executable, *PROGRAM, *arguments]
    task.put(command=" ".join(["audio-lm", *arguments]), exit_code=None)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "output"
        with log.open("w") as output:
            run = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
            is_stopped = False
            while run.poll() is None:
                time.sleep(0.5)
                if task.left < LEFT_FOR_THE_END and not is_stopped:
                    run.send_signal(signal.SIGTERM)
                    is_stopped = True
                task.put(seconds=time.monotonic() - start, output=_last_lines(log))
        task.put(
            exit_code=run.returncode,
            stopped=is_stopped,
            output=_last_lines(log),
            finished=_finished_stages(Path(folder)),
        )
        sys.stdout.write(log.read_text(errors="replace"))
    if run.returncode and not is_stopped:
        raise RunFailed(f"the run ended with exit code {run.returncode}")


def overrides(task: Task) -> list[str]:
    """Overrides of the demo recipe: its smoke test in a rehearsal, else fewer clips and steps on one GPU."""
    if task.device == "cpu":
        return ["use.scale=tiny"]
    clips = [f"corpora.synthetic.clips.{name}={NUM_CLIPS}" for name in CLIPS]
    steps = [f"stages.{name}.steps={count}" for name, count in STEPS.items()]
    few = [f"+corpora.synthetic.{split}_clips={NUM_TEST_CLIPS}" for split in ("validation", "test")]
    # The recipe itself sets the devices and the precision of a CPU.
    return ["use.hardware=one_gpu", "hardware.devices=1", "hardware.precision=bf16", *clips, *few, *steps]


def _last_lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-LAST_LINES:]


def _finished_stages(folder: Path) -> list[str]:
    paths = sorted(folder.glob("runs/*/stages/*/status.json"))
    return [path.parent.name for path in paths if json.loads(path.read_text()).get("finished")]
