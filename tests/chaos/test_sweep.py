"""Workers of a sweep of real runs, killed at random: neither the trials nor any result changes."""

import os
import random
import time

import pytest

from audio_lm.sweep.results import curves_of
from tests.sweep.real_sweep import RealWorker, open_real_sweep

pytestmark = pytest.mark.chaos

KILLS = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("SEED", "0"))
PATIENCE = 3600
TWO_RANKS = ["hardware.devices=2", "hardware.sharding=fsdp"]


def results(ledger):
    """Trial -> everything that its run has measured, bit for bit."""
    state = ledger.state()
    return {
        name: (one.trial, one.status, dict(one.values), curves_of(ledger.run_folder(one.trial), state.facts))
        for name, one in state.trials.items()
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, small_recipe, small):
    """Results of an uninterrupted worker."""
    ledger = open_real_sweep(tmp_path_factory.mktemp("undisturbed"), small_recipe)
    assert RealWorker(ledger.folder).end(PATIENCE) == 0
    assert {one.status for one in ledger.state().trials.values()} == {"finished"}
    return results(ledger)


def test_workers_killed_at_random_change_neither_the_trials_nor_their_results(
    tmp_path, small_recipe, undisturbed
):
    ledger, rng = open_real_sweep(tmp_path, small_recipe), random.Random(SEED)
    workers, num_kills = [RealWorker(ledger.folder) for _ in range(2)], 0
    while num_kills < KILLS and not ledger.state().is_over:
        time.sleep(rng.uniform(1, 25))
        workers.pop(rng.randrange(2)).kill()
        workers.append(RealWorker(ledger.folder))
        num_kills += 1
    assert [worker.end(PATIENCE) for worker in workers] == [0, 0]
    state = ledger.state()
    starts = {name: one.num_claims for name, one in state.trials.items()}
    print(f"{num_kills} kills, starts of each trial {starts}")
    assert sum(starts.values()) > len(starts), "no trial was taken over, so nothing was tested"
    assert results(ledger) == undisturbed
    assert all(one.num_faults == 0 for one in state.trials.values())


def test_a_trial_of_two_sharded_ranks_goes_on_when_its_worker_is_killed(tmp_path, small_recipe, small):
    """The whole sweep on two ranks with FSDP2; a worker is killed in its first trial, and another one takes it over."""
    whole = open_real_sweep(tmp_path / "whole", small_recipe, *TWO_RANKS)
    assert RealWorker(whole.folder).end(PATIENCE) == 0
    ledger = open_real_sweep(tmp_path / "killed", small_recipe, *TWO_RANKS)
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
