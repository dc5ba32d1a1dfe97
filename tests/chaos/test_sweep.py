"""Workers of a sweep of real runs, killed at random: neither the trials nor any result changes."""

import os
import random
import sys
import time

import pytest

from audio_lm.fault_tolerance.launcher_env import FRESH_STORE
from audio_lm.sweep.results import curves_of
from tests.chaos.test_slurm import SCONTROL, SRUN
from tests.sweep.real_sweep import RealWorker, open_real_sweep

pytestmark = pytest.mark.chaos

PATIENCE = 3600
TWO_PACKS = "stages.pretrain.packs_per_step=2"
TWO_RANKS = ["hardware.devices=2", TWO_PACKS]
TWO_SHARDS = [*TWO_RANKS, "hardware.sharding=fsdp"]


def results(ledger):
    """Trial -> everything that its run has measured, bit for bit."""
    state = ledger.state()
    return {
        name: (one.trial, one.status, dict(one.values), curves_of(ledger.run_folder(one.trial), state.facts))
        for name, one in state.trials.items()
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory, small_recipe, small):
    """Results of an uninterrupted worker."""
    ledger = open_real_sweep(tmp_path_factory.mktemp("undisturbed"), small_recipe)
    assert RealWorker(ledger.folder).end(PATIENCE) == 0
    assert {one.status for one in ledger.state().trials.values()} == {"finished"}
    return results(ledger)


def killed_sweep(ledger, kills, chance):
    """Run a sweep with two workers, one of which is killed at random and replaced, again and again; number of kills."""
    workers, num_kills = [RealWorker(ledger.folder) for _ in range(2)], 0
    while num_kills < kills:
        time.sleep(chance.uniform(1, 25))
        if ledger.state().is_over:
            break
        workers.pop(chance.randrange(2)).kill()
        workers.append(RealWorker(ledger.folder))
        num_kills += 1
    assert [worker.end(PATIENCE) for worker in workers] == [0, 0]
    return num_kills


def test_workers_killed_at_random_change_neither_the_trials_nor_their_results(
    tmp_path, small_recipe, expected, request
):
    kills, chance = (
        request.config.getoption("--kills", 6),
        random.Random(request.config.getoption("--seed", 0)),
    )
    num_kills, num_taken_over = 0, 0
    while num_kills < kills:
        ledger = open_real_sweep(tmp_path / f"{num_kills}", small_recipe)
        num_kills += killed_sweep(ledger, kills - num_kills, chance)
        state = ledger.state()
        num_taken_over += sum(one.num_claims > 1 for one in state.trials.values())
        assert results(ledger) == expected
        assert all(one.num_faults == 0 for one in state.trials.values())
    assert num_taken_over, "no trial was taken over, so nothing was tested"


def test_a_trial_of_two_sharded_ranks_goes_on_when_its_worker_is_killed(tmp_path, small_recipe, small):
    """The whole sweep on two ranks with FSDP2; a worker is killed in its first trial, and another one takes it over."""
    whole = open_real_sweep(tmp_path / "whole", small_recipe, *TWO_SHARDS)
    assert RealWorker(whole.folder).end(PATIENCE) == 0
    ledger = open_real_sweep(tmp_path / "killed", small_recipe, *TWO_SHARDS)
    worker = RealWorker(ledger.folder)
    first = ledger.folder / "trials" / "000" / "stages" / "pretrain" / "checkpoints"
    until = time.monotonic() + PATIENCE
    while not list(first.glob("step-*2/MANIFEST.json")):
        assert time.monotonic() < until
        time.sleep(0.05)
    worker.kill()
    assert RealWorker(ledger.folder).end(PATIENCE) == 0
    assert ledger.state().trials["000"].num_claims == 2
    assert results(ledger) == results(whole)


def test_a_trial_of_two_nodes_is_a_step_of_its_job_and_equals_one_of_two_ranks(
    tmp_path, small_recipe, small, monkeypatch
):
    """The scheduler is made of two shell scripts, and both nodes are this machine."""
    programs = tmp_path / "bin"
    programs.mkdir()
    audio_lm = f'#!/usr/bin/env bash\nexec {sys.executable} -m audio_lm.cli.main "$@"\n'
    torchrun = f'#!/usr/bin/env bash\nexec {sys.executable} -m torch.distributed.run "$@"\n'
    for name, text in {
        "srun": SRUN,
        "scontrol": SCONTROL,
        "audio-lm": audio_lm,
        "torchrun": torchrun,
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    one_machine = open_real_sweep(tmp_path / "ranks", small_recipe, *TWO_RANKS)
    assert RealWorker(one_machine.folder).end(PATIENCE) == 0
    for name, value in {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "20017",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "node[0-1]",
        FRESH_STORE: "1",
    }.items():
        monkeypatch.setenv(name, value)
    ledger = open_real_sweep(tmp_path / "nodes", small_recipe, TWO_PACKS)
    assert RealWorker(ledger.folder, nodes=2).end(PATIENCE) == 0
    state = ledger.state()
    assert {one.status for one in state.trials.values()} == {"finished"}
    for name, one in one_machine.state().trials.items():
        assert state.trials[name].values == pytest.approx(one.values, rel=1e-5)
    recipe = (ledger.folder / "trials" / "000" / "recipe.yaml").read_text()
    assert "nodes: 2" in recipe
