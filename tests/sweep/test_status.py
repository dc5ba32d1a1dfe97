"""Status of a sweep from its folder alone."""

import io
import json
import time

from rich.console import Console

from audio_lm.sweep.ledger import Ledger
from audio_lm.sweep.status import print_sweep_status, status_of_sweep, summary_line
from audio_lm.sweep.workers import LifeSign
from tests.sweep.test_ledger import NOBODY
from tests.sweep.toy_sweep import FACTS, open_toy_sweep, toy_trials


def end_trials(ledger, *ends):
    for end in ends:
        ledger.end(
            ledger.claim("w", NOBODY), end, "" if end == "finished" else "too bad", {"toy/score": 0.25}
        )


def test_the_status_counts_trials_and_estimates_the_time_left(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 5)
    end_trials(ledger, "finished", "failed")
    with LifeSign(ledger.folder) as sign:
        ledger.claim(sign.worker, NOBODY)
        status = status_of_sweep(ledger.folder, now=time.time() + 5)
    assert [status.count(name) for name in ("finished", "failed", "running", "waiting")] == [1, 1, 1, 2]
    assert status.workers == 1
    assert 0 <= status.seconds_left < 5
    assert 5 <= status.trials[2].seconds < 10
    assert not status.is_over
    line = summary_line(status)
    assert line.startswith("toy-1a2b3c4d: 1 finished, 1 running, 2 waiting, 1 failed; 1 worker; about ")
    assert json.loads(json.dumps(status.as_table()))["trials"][1]["reason"] == "too bad"


def test_without_workers_or_finished_trials_no_time_is_claimed(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 2)
    assert status_of_sweep(ledger.folder).seconds_left is None
    end_trials(ledger, "finished")
    assert (
        summary_line(status_of_sweep(ledger.folder))
        == "toy-1a2b3c4d: 1 finished, 0 running, 1 waiting; 0 workers"
    )


def test_trials_that_are_chosen_later_are_counted(tmp_path):
    from dataclasses import replace

    ledger = Ledger(tmp_path / "sweep")
    ledger.open(replace(FACTS, num_sampled=6), toy_trials(4))
    end_trials(ledger, *["finished"] * 4)
    status = status_of_sweep(ledger.folder)
    assert status.num_sampled_left == 2
    assert not status.is_over
    assert "2 to be chosen" in summary_line(status)


def test_the_page_shows_shares_values_and_reasons(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 2)
    end_trials(ledger, "finished", "pruned")
    console = Console(file=io.StringIO(), width=140)
    print_sweep_status(status_of_sweep(ledger.folder), console)
    rows = [line.split() for line in console.file.getvalue().splitlines()]
    assert rows[1] == ["trial", "purpose", "status", "a", "b", "time", "toy/score"]
    assert rows[2][:5] == ["000", "design", "finished", "0.000", "1.000"]
    assert rows[3][-3:] == ["0.25", "too", "bad"]
