"""From a sweep file to its ledger and its workers; nothing is trained here."""

from dataclasses import replace
from pathlib import Path

import pytest

from audio_lm.common.errors import DataError, RecipeError, UserError
from audio_lm.common.rng import random_for
from audio_lm.sweep.ledger import Ledger
from audio_lm.sweep.start import base_recipe, find_sweep, make_worker, open_paired_seeds, open_sweep
from tests.sweep.real_sweep import open_real_sweep, write_sweep
from tests.sweep.test_ledger import NOBODY

TPE = "design: {kind: tpe, trials: 30}"


@pytest.fixture
def ledger(tmp_path, small_recipe, small):
    return open_real_sweep(tmp_path, small_recipe)


def test_the_ledger_has_the_trials_of_the_design_and_what_all_workers_need(ledger, tmp_path):
    state = ledger.state()
    purposes = [one.trial.purpose for one in state.trials.values()]
    assert purposes == ["uniform", "proportional", "recipe", "bad", "repeat", "design"]
    facts = state.facts
    assert facts.name.startswith("real-")
    assert (facts.stage, facts.tasks, facts.steps) == ("pretrain", ("sec", "mna"), 6)
    assert facts.overrides[0] == "~stages.chat"
    assert facts.folder == str(Path.cwd())
    assert base_recipe(facts).signature == facts.signature


def test_a_worker_refuses_a_recipe_that_has_changed_since_the_sweep_began(ledger):
    changed = replace(ledger.facts, overrides=(*ledger.facts.overrides, "stages.pretrain.steps=7"))
    with pytest.raises(RecipeError, match=r"signature \w{8} -- expected \w{8}, .*-- undo the change"):
        base_recipe(changed)


def test_a_sweep_is_found_by_its_folder_or_by_its_file_if_only_one_fits(ledger, tmp_path, monkeypatch):
    assert find_sweep(str(ledger.folder)).folder == ledger.folder
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"real\.yaml: 0 sweeps of this name in sweeps/ -- expected one"):
        find_sweep("real.yaml")
    (tmp_path / "sweeps").mkdir()
    ledger.folder.rename(tmp_path / "sweeps" / "real-00000000")
    for name in ("real.yaml", "real", str(tmp_path / "real.yaml")):
        assert find_sweep(name).folder == tmp_path / "sweeps" / "real-00000000"
    with pytest.raises(UserError, match="holds no sweep"):
        find_sweep("sweeps/other").state()


def test_trials_on_several_nodes_need_a_job(ledger, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match=r"a trial runs on 3 nodes -- expected a SLURM job"):
        make_worker(ledger, print, nodes=3)


def test_paired_seeds_are_two_mixtures_with_every_seed(tmp_path, small_recipe, small, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_sweep(tmp_path, small_recipe)
    ledger = open_paired_seeds(str(path), ["stages.pretrain.mixture.weights.sec=2"], 6)
    assert ledger.folder.parent == tmp_path / "sweeps"
    trials = [one.trial for one in ledger.state().trials.values()]
    assert [trial.seed for trial in trials] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [trial.shares["sec"] for trial in trials[:2]] == [0.5, pytest.approx(2 / 3, abs=1e-5)]
    assert all(f"seed={trial.seed}" in trial.overrides for trial in trials)
    with pytest.raises(DataError, match="5 seeds -- expected 6 or more"):
        open_paired_seeds(str(path), [], 5)


def loss(shares):
    """Loss with its minimum at 0.8 of ``sec``."""
    return (shares["sec"] - 0.8) ** 2


def run_sampler(ledger, num_trials=None):
    """Choose and end trials one by one, as a single worker does; returns the shares of the chosen ones."""
    sampler, chosen = make_worker(ledger, print).sampler, []
    while len(chosen) != num_trials:
        while (claim := ledger.claim("w", NOBODY)) is not None:
            value = loss(claim.trial.shares)
            ledger.end(claim, "finished", "", {"val_loss/sec": value, "events/acc": 0.0})
        with ledger.adding() as (state, trials):
            trial = sampler.next_trial(state)
            if trial is None:
                break
            trials.append(trial)
        chosen.append(trial.shares["sec"])
    return chosen


def test_tpe_comes_near_the_optimum_and_stops_at_the_number_of_trials(tmp_path, small_recipe, small):
    pytest.importorskip("optuna")
    ledger = open_real_sweep(tmp_path, small_recipe, design=TPE)
    assert ledger.facts.num_sampled == 30
    chosen = run_sampler(ledger)
    assert len(chosen) == 30
    uniform = random_for("uniform").uniform(size=(1000, 15))
    error = sorted(abs(share - 0.8) for share in chosen[15:])[7]
    assert error < abs(uniform - 0.8).mean() / 2, chosen
    assert min(abs(share - 0.8) for share in chosen) < 0.03


def test_tpe_chooses_from_the_ledger_alone(tmp_path, small_recipe, small):
    """A worker that starts later chooses what the first one would have chosen."""
    pytest.importorskip("optuna")
    ledger = open_real_sweep(tmp_path, small_recipe, design=TPE)
    first = run_sampler(ledger, 12)
    lines = ledger.path.read_bytes()
    more = run_sampler(ledger, 3)
    other = Ledger(tmp_path / "other")
    (tmp_path / "other").mkdir()
    other.path.write_bytes(lines)
    assert run_sampler(other, 3) == more
    assert len({*first, *more}) == 15


def test_tpe_refuses_a_sweep_file_that_has_changed(tmp_path, small_recipe, small):
    ledger = open_real_sweep(tmp_path, small_recipe, design=TPE)
    path = tmp_path / "real.yaml"
    path.write_text(path.read_text().replace("trials: 30", "trials: 31"))
    with pytest.raises(RecipeError, match=r"real\.yaml is now real-\w{8} -- expected real-\w{8}"):
        make_worker(ledger, print)


def test_without_optuna_the_extra_is_named(tmp_path, small_recipe, small, monkeypatch):
    ledger = open_real_sweep(tmp_path, small_recipe, design=TPE)
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UserError, match=r"audio-lm\[sweep\]"):
        make_worker(ledger, print)


def test_the_same_file_opens_the_same_sweep_again(ledger, tmp_path):
    before = ledger.path.read_bytes()
    open_sweep(str(tmp_path / "real.yaml"), [], out=ledger.folder)
    assert ledger.path.read_bytes() == before
