"""The job of ``audio-lm submit``, preempted and requeued by a scheduler made of two shell scripts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.cluster import TIMEOUT, Cluster, json_of
from tests.chaos.comparing import assert_same

STEPS = 16
# Starts the nodes and forwards signals to them; exits with 1 if a node fails. It requires --kill-on-bad-exit=1.
SRUN = """#!/usr/bin/env bash
[ "$1" = --kill-on-bad-exit=1 ] || exit 9
shift
pids=()
for node in 0 1; do SLURM_NODEID=$node "$@" & pids+=($!); done
trap 'kill -USR1 "${pids[@]}" 2> /dev/null' USR1
trap 'kill -TERM "${pids[@]}" 2> /dev/null' TERM
bad=0
while jobs -r | grep -q .; do
  wait -n || [ $? -gt 128 ] || bad=1
done
exit $bad
"""
SCONTROL = """#!/usr/bin/env bash
case "$1" in
  show) echo 127.0.0.1; echo 127.0.0.2 ;;
  requeue) echo "$2" >> "$CHAOS_FOLDER/requeued" ;;
esac
"""
# The program of a rank, in place of the installed one on PATH.
AUDIO_LM = """#!/usr/bin/env bash
shift
exec {python} {worker} "$@"
"""


@pytest.mark.chaos
def test_a_job_at_its_time_limit_is_requeued_once_and_ends_with_the_same_output(
    undisturbed, chaos_folder, record_property
):
    cluster = Cluster(chaos_folder / "slurm", chaos_folder / "data", steps=STEPS, pause=0.3)
    script = write_job(cluster)
    start = time.monotonic()
    job = start_job(cluster, script, restart=0)
    cluster.agents[0] = job  # ``beat`` checks that it runs
    cluster.beat(1, condition=lambda beat: bool(beat["step"]))
    signalled = time.time()
    job.send_signal(signal.SIGUSR1)  # to the batch script only, as with --signal=B:USR1@300
    assert job.wait(timeout=TIMEOUT) == 0, cluster.log()
    record_property(
        "exit reason after", f"{json_of(cluster.out / 'exit_reason.json')['time'] - signalled:.2f} s"
    )
    record_property("job left after", f"{time.time() - signalled:.1f} s")
    reason = cluster.exit_reason()
    assert (reason["reason"], reason["signal"]) == ("preempted", "SIGUSR1"), cluster.log()
    assert (cluster.folder / "requeued").read_text().split() == ["4711"]
    cluster.environment["CHAOS_PAUSE"] = "0"
    assert start_job(cluster, script, restart=1).wait(timeout=TIMEOUT) == 0, cluster.log()
    assert cluster.exit_reason()["reason"] == "finished", cluster.log()
    assert (cluster.folder / "requeued").read_text().split() == ["4711"], "it is requeued once"
    assert_same(cluster, undisturbed(STEPS))
    record_property("whole cycle", f"{time.monotonic() - start:.0f} s")


def write_job(cluster):
    """Write the job script, and the scripts of the scheduler on PATH."""
    path = cluster.folder / "bin"
    path.mkdir()
    worker = Path(__file__).with_name("worker.py")
    texts = {
        "srun": SRUN,
        "scontrol": SCONTROL,
        "audio-lm": AUDIO_LM.format(python=sys.executable, worker=worker),
    }
    texts["torchrun"] = f'#!/usr/bin/env bash\nexec {sys.executable} -m torch.distributed.run "$@"\n'
    for name, text in texts.items():
        (path / name).write_text(text)
        (path / name).chmod(0o755)
    script = cluster.folder / "job.sbatch"
    command = [
        "submit",
        str(cluster.recipe),
        *cluster.places,
        "--dry-run",
        "--nodes",
        "2",
        "--out",
        str(cluster.out),
    ]
    done = subprocess.run(
        [sys.executable, "-c", "from audio_lm.cli.main import main; main()", *command],
        env=cluster.environment, cwd=cluster.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    script.write_text(done.stdout)
    return script


def start_job(cluster, script, *, restart):
    environment = cluster.environment | {
        "PATH": f"{cluster.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "4711",
        "SLURM_RESTART_COUNT": str(restart),
        "SLURM_JOB_NODELIST": "node[0-1]",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": "0",
    }
    environment.pop("TORCH_DISABLE_SHARE_RDZV_TCP_STORE")
    with (cluster.folder / "node-0.log").open("ab") as log:
        return subprocess.Popen(
            ["bash", str(script)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
