"""A rank that is late after a restart, under plain torchrun: the reason why each restart needs a new store."""

import os
import subprocess
import sys

import pytest

from audio_lm.fault_tolerance.launcher_env import FRESH_STORE

RANK = """
import os, signal, sys, time
from datetime import timedelta
import torch
from torch import distributed
rank, attempt = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
if attempt and rank == 1:
    time.sleep(4)
store, rank, size = next(distributed.rendezvous("env://", timeout=timedelta(seconds=60)))
if store.check(["address of a dead rank"]):
    sys.exit(sys.stdout.write("found dead ranks\\n") and 0)
distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
distributed.all_reduce(torch.ones(1))
if not attempt:
    store.set("address of a dead rank", "")
    distributed.barrier()
    if rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
sys.stdout.write("connected\\n")
sys.stdout.flush()
store.set(f"{rank} is done", "")
store.wait(["0 is done", "1 is done"])
if rank == 0:
    time.sleep(1)  # this process hosts the store
os._exit(0)  # gloo's threads may still run, and Python's exit would abort
"""


@pytest.mark.chaos
@pytest.mark.parametrize(("fresh", "output"), [({FRESH_STORE: "1"}, "connected"), ({}, "found dead ranks")])
def test_a_late_rank_connects_in_a_new_store_and_finds_dead_ranks_in_the_old_one(fresh, output, tmp_path):
    program = tmp_path / "rank.py"
    program.write_text(RANK)
    environment = {name: value for name, value in os.environ.items() if name != FRESH_STORE}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--rdzv-backend=c10d", "--nnodes=1"]
    torchrun += ["--rdzv-endpoint=localhost:0", "--nproc-per-node=2", "--max-restarts=1"]
    done = subprocess.run(
        [*torchrun, str(program)],
        env=environment | {"OMP_NUM_THREADS": "1"} | fresh,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == output.split() * 2
