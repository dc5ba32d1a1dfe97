"""The job that ``audio-lm submit`` writes, run by a scheduler of two shell scripts through a whole preemption."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.cluster import PATIENCE, Cluster, json_of
from tests.chaos.comparing import assert_same

STEPS = 16
# Starts the nodes, passes signals on to them, and ends all when one ends badly: what --kill-on-bad-exit=1 is for.
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
# The program of a rank, as an installed one would be on PATH.
AUDIO_LM = """#!/usr/bin/env bash
shift
exec {python} {worker} "$@"
"""


@pytest.mark.chaos
def test_a_job_whose_time_is_over_is_queued_again_once_and_ends_as_if_it_had_had_the_time(
    undisturbed, chaos_folder, record_property
):
    cluster = Cluster(chaos_folder / "slurm", chaos_folder / "data", steps=STEPS, pause=0.3)
    script = written_job(cluster)
    began = time.monotonic()
    job = started(cluster, script, restart=0)
    cluster.agents[0] = job  # so that what waits for ranks knows that it is there
    cluster.beat(1, is_meant=lambda beat: bool(beat["step"]))
    told = time.time()
    job.send_signal(signal.SIGUSR1)  # the batch script alone, as --signal=B:USR1@300 has it
    assert job.wait(timeout=PATIENCE) == 0, said(cluster)
    record_property("last word after", f"{json_of(cluster.out / 'exit_reason.json')['time'] - told:.2f} s")
    record_property("job left after", f"{time.time() - told:.1f} s")
    reason = cluster.exit_reason()
    assert (reason["reason"], reason["signal"]) == ("preempted", "SIGUSR1"), said(cluster)
    assert (cluster.folder / "requeued").read_text().split() == ["4711"]
    cluster.environment["CHAOS_PAUSE"] = "0"
    assert started(cluster, script, restart=1).wait(timeout=PATIENCE) == 0, said(cluster)
    assert cluster.exit_reason()["reason"] == "finished", said(cluster)
    assert (cluster.folder / "requeued").read_text().split() == ["4711"], "once"
    assert_same(cluster, undisturbed(STEPS))
    record_property("whole cycle", f"{time.monotonic() - began:.0f} s")


def written_job(cluster):
    """The job, and a cluster of scripts on PATH."""
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
        "--file",
        str(script),
        "--out",
        str(cluster.out),
    ]
    done = subprocess.run(
        [sys.executable, "-c", "from audio_lm.cli.main import main; main()", *command],
        env=cluster.environment, cwd=cluster.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return script


def started(cluster, script, *, restart):
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


def said(cluster):
    return cluster.log()
