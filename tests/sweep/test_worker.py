"""Workers of a sweep of toy trials, each a process of its own."""

import random
import signal
import time

import pytest

from audio_lm.common.errors import UserError
from audio_lm.fault_tolerance.exit_status import ExitReason, write_exit_reason
from tests.sweep.toy_sweep import PATIENCE, ToyWorker, open_toy_sweep, results, toy_worker


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Results of eight trials that one worker ran without a disturbance."""
    ledger = open_toy_sweep(tmp_path_factory.mktemp("undisturbed") / "sweep", 8)
    assert toy_worker(ledger).work() == 0
    return results(ledger)


def wait_until(is_done):
    until = time.monotonic() + PATIENCE
    while not is_done():
        assert time.monotonic() < until, "the sweep does not go on"
        time.sleep(0.01)


def test_a_worker_runs_all_trials_in_order_and_records_their_values(tmp_path):
    lines = []
    ledger = open_toy_sweep(tmp_path / "sweep", 3)
    assert toy_worker(ledger, report=lines.append).work() == 0
    state = ledger.state()
    assert [one.status for one in state.trials.values()] == ["finished"] * 3
    assert len({one.values["toy/score"] for one in state.trials.values()}) == 3
    assert lines[2] == "trial 001 (design) a=0.333 b=0.667: started"
    assert lines[3].startswith("trial 001: finished, toy/score 0.")
    assert not list((tmp_path / "sweep" / "workers").iterdir()), "a worker that has ended leaves no life sign"


@pytest.mark.slow
def test_workers_killed_at_random_change_neither_the_trials_nor_their_results(tmp_path, undisturbed):
    """Two workers at a time; one of them is killed ten times at a random moment, and a new one joins."""
    ledger, rng = open_toy_sweep(tmp_path / "sweep", 8), random.Random(0)
    workers = [ToyWorker(ledger.folder) for _ in range(2)]
    for _ in range(10):
        before = len(ledger.path.read_bytes())
        wait_until(lambda before=before: len(ledger.path.read_bytes()) != before)  # somebody works
        time.sleep(rng.random() * 0.2)
        workers.pop(rng.randrange(2)).kill()
        workers.append(ToyWorker(ledger.folder))
    assert [worker.end() for worker in workers] == [0, 0]
    assert results(ledger) == undisturbed
    assert not list(ledger.folder.glob("trials/*/overlap")), "two runs of one trial at once"
    folders = [ledger.run_folder(one.trial) for one in ledger.state().trials.values()]
    starts = [len((folder / "starts").read_text().split()) for folder in folders]
    assert sum(starts) > 8, "no trial was taken over, so nothing was tested"


def test_a_third_worker_joins_and_every_trial_is_run_once(tmp_path, undisturbed):
    ledger = open_toy_sweep(tmp_path / "sweep", 8)
    workers = [ToyWorker(ledger.folder) for _ in range(2)]
    wait_until(lambda: ledger.state().of("running"))
    workers.append(ToyWorker(ledger.folder))
    assert [worker.end() for worker in workers] == [0, 0, 0]
    state = ledger.state()
    assert results(ledger) == undisturbed
    assert {one.num_claims for one in state.trials.values()} == {1}


def test_a_stopped_worker_gives_its_trial_back(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 1)
    worker = ToyWorker(ledger.folder, steps=100_000)
    wait_until(lambda: (ledger.folder / "trials/000/checkpoint.json").exists())
    worker.stop()
    assert worker.end() == signal.SIGTERM
    (state,) = ledger.state().trials.values()
    assert (state.status, state.num_claims, state.num_faults) == ("waiting", 1, 0)
    assert state.reason == "killed by SIGTERM"


def test_a_run_that_always_fails_is_given_up_with_its_reason_and_the_others_go_on(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 2)
    (ledger.folder / "trials" / "000").mkdir()
    (ledger.folder / "trials" / "000" / "checkpoint.json").write_text("[")
    assert toy_worker(ledger).work() == 0
    failed, finished = ledger.state().trials.values()
    assert (failed.status, failed.num_claims) == ("failed", 3)
    assert "JSONDecodeError" in failed.reason
    assert finished.status == "finished"


def test_a_worker_ends_before_a_cause_that_is_not_the_mixture_fails_all_trials(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 6)
    broken = [ledger.folder / "trials" / name / "checkpoint.json" for name in ("000", "002", "003", "004")]
    for path in broken:
        path.parent.mkdir()
        path.write_text("[")
    with pytest.raises(
        UserError, match=r"3 trials in a row have failed, the last one, 004, .*--retry-failed"
    ):
        toy_worker(ledger).work()
    assert [one.trial.name for one in ledger.state().of("finished")] == ["001"]
    for path in broken:
        path.unlink()
    assert ledger.retry_failed() == ["000", "002", "003", "004"]
    assert toy_worker(ledger).work() == 0
    assert len(ledger.state().of("finished")) == 6


def test_a_trial_that_was_finished_before_its_worker_could_record_it_is_not_run_again(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 1)
    folder = ledger.folder / "trials" / "000"
    folder.mkdir()
    (folder / "scores.json").write_text('{"toy/score": 0.25}')
    write_exit_reason(folder, ExitReason("finished", "all stages are trained"))
    assert toy_worker(ledger).work() == 0
    assert results(ledger) == {"000": ("finished", {"toy/score": 0.25})}
    assert not (folder / "starts").exists()
