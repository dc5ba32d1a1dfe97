"""Ledger of a sweep: a pure function of its lines, for any writers and any end."""

import json
import os
import random
import signal
from dataclasses import replace

import pytest

from audio_lm.common.errors import DataError, UserError
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.facts import SweepFacts
from audio_lm.sweep.ledger import MAX_FAULTS, Ledger
from audio_lm.sweep.trial import Trial
from tests.forked import in_parallel, killed_after, on_ranks
from tests.sweep.toy_sweep import FACTS, open_toy_sweep, toy_trials


class Dead:
    """Believes that some workers are dead."""

    def __init__(self, *workers):
        self.workers = workers

    def is_dead(self, worker):
        return worker in self.workers


NOBODY = Dead()


def states(ledger):
    return {name: one.status for name, one in ledger.state().trials.items()}


def test_facts_and_trials_are_read_back_as_they_were_written(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep")
    state = ledger.state()
    assert state.facts == FACTS
    assert [one.trial for one in state.trials.values()] == toy_trials(4)
    assert SweepFacts.from_json(json.loads(json.dumps(FACTS.as_json()))) == FACTS
    assert state.next_name() == "004"


def test_opening_again_adds_only_trials_that_are_missing(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 2)
    before = ledger.path.read_bytes()
    open_toy_sweep(tmp_path / "sweep", 2)
    assert ledger.path.read_bytes() == before
    ledger.open(FACTS, toy_trials(3))
    assert list(ledger.state().trials) == ["000", "001", "002"]


def test_a_folder_with_another_sweep_is_refused_with_a_remedy(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep")
    with pytest.raises(UserError, match=r"'toy-1a2b3c4d'.*-- expected 'other'.*choose another folder"):
        ledger.open(SweepFacts("other", "toy", "train", ("a", "b"), {}), [])
    with pytest.raises(UserError, match="holds no sweep"):
        Ledger(tmp_path).state()


def test_processes_that_claim_at_once_never_get_the_same_trial(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 30)

    def claim_all(number):
        claims = []
        while (claim := Ledger(ledger.folder).claim(f"worker-{number}", NOBODY)) is not None:
            claims.append(claim.trial.name)
        return claims

    names = [name for names in in_parallel(4, claim_all) for name in names]
    assert sorted(names) == [f"{number:03d}" for number in range(30)]


def test_a_dead_workers_trial_is_taken_over_first_and_the_dead_one_changes_nothing_afterwards(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 3)
    old = ledger.claim("old", NOBODY)
    new = ledger.claim("new", Dead("old"))
    assert (new.trial.name, new.number) == (old.trial.name, 2)
    assert not ledger.holds(old)
    for late in (ledger.release, ledger.fault):
        late(old, "late")
    ledger.end(old, "failed", "late", {})
    assert ledger.holds(new)
    ledger.end(new, "finished", "", {"toy/score": 0.5})
    assert states(ledger) == {"000": "finished", "001": "waiting", "002": "waiting"}
    ledger.end(old, "failed", "late", {})
    assert ledger.state().trials["000"].values == {"toy/score": 0.5}


def test_two_claims_that_replace_the_same_one_leave_the_trial_to_the_first(tmp_path):
    """As if a file system had let two writers in: the lines decide alone."""
    ledger = open_toy_sweep(tmp_path / "sweep", 1)
    for name in ("first", "second"):
        ledger._append(
            [{"kind": "claim", "trial": "000", "claim": name, "replaces": "", "worker": name}],
        )
    (state,) = ledger.state().trials.values()
    assert (state.claim, state.worker, state.num_claims) == ("first", "first", 1)


def test_a_trial_fails_after_several_faults_and_a_release_is_none(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 1)
    for number in range(MAX_FAULTS):
        ledger.release(ledger.claim("w", NOBODY), "stopped")
        assert states(ledger) == {"000": "waiting"}
        ledger.fault(ledger.claim("w", NOBODY), f"fault {number}")
    (state,) = ledger.state().trials.values()
    assert (state.status, state.reason) == ("failed", f"fault {MAX_FAULTS - 1}")
    assert ledger.claim("w", NOBODY) is None


def test_a_failed_trial_may_be_tried_again_and_others_stay_as_they_are(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 3)
    ledger.end(ledger.claim("w", NOBODY), "finished", "", {})
    ledger.end(ledger.claim("w", NOBODY), "failed", "disk full", {})
    assert ledger.retry_failed() == ["001"]
    assert states(ledger) == {"000": "finished", "001": "waiting", "002": "waiting"}
    assert ledger.claim("w", NOBODY).trial.name == "001"
    assert ledger.retry_failed() == []


def test_a_file_that_watches_other_metrics_replaces_the_facts_but_not_the_folder(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 1)
    more = replace(FACTS, metrics={**FACTS.metrics, "toy/other": MetricConfig("max")}, folder="/elsewhere")
    for _ in range(2):
        ledger.open(more, toy_trials(1))
    assert ledger.facts == replace(more, folder="")
    assert len(ledger.path.read_text().splitlines()) == 3


def test_a_line_cut_at_any_byte_costs_only_itself(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 3)
    whole = ledger.path.read_bytes()
    ledger.claim("killed", NOBODY)
    line = ledger.path.read_bytes()[len(whole) :]
    for length in random.Random(0).sample(range(1, len(line)), 12):
        ledger.path.write_bytes(whole + line[:length])
        assert states(ledger) == dict.fromkeys(("000", "001", "002"), "waiting")
        claim = ledger.claim("alive", NOBODY)
        assert claim.trial.name == "000"
        assert ledger.state().num_damaged == 1
        assert ledger.holds(claim)


def test_a_process_killed_at_any_call_leaves_a_ledger_that_others_go_on_with(tmp_path):
    """Killed at a random function call while it claims and ends trials."""
    ledger = open_toy_sweep(tmp_path / "sweep", 6)

    def run_all():
        own = Ledger(ledger.folder)
        while (claim := own.claim(f"pid-{os.getpid()}", Everybody())) is not None:
            own.end(claim, "finished", "", {"toy/score": float(claim.trial.name)})
        os.kill(os.getpid(), signal.SIGKILL)

    for calls in random.Random(0).sample(range(50, 3000), 8):
        on_ranks(1, lambda _, calls=calls: killed_after(calls, run_all), may_die=True)
        state = ledger.state()
        assert list(state.trials) == [f"{number:03d}" for number in range(6)]
        for one in state.of("finished"):
            assert one.values == {"toy/score": float(one.trial.name)}
    run_left = Ledger(ledger.folder)
    while (claim := run_left.claim("last", Everybody())) is not None:
        run_left.end(claim, "finished", "", {"toy/score": float(claim.trial.name)})
    assert set(states(ledger).values()) == {"finished"}


class Everybody:
    """Believes that every worker is dead."""

    def is_dead(self, worker):
        return True


def test_a_ledger_of_another_release_is_refused_with_its_place(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 1)
    ledger._append([{"kind": "claim", "trial": "000", "claim": "x"}])
    with pytest.raises(DataError, match=r"ledger\.jsonl, byte \d+: .*KeyError: 'replaces'"):
        ledger.state()


def test_trials_chosen_from_the_state_are_added_under_the_lock(tmp_path):
    ledger = open_toy_sweep(tmp_path / "sweep", 1)

    def add_some(number):
        for _ in range(5):
            with Ledger(ledger.folder).adding() as (state, chosen):
                chosen.append(Trial(state.next_name(), "design", {"a": 1.0}, seed=number))

    in_parallel(3, add_some)
    assert list(ledger.state().trials) == [f"{number:03d}" for number in range(16)]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"folder of the sweep .*choose another"):
        Ledger(tmp_path / "file" / "sweep").open(FACTS, [])
