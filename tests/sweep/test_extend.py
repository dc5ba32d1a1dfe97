import numpy as np
import pytest

from audio_lm.common.errors import DataError
from audio_lm.sweep.extend import add_proposals, add_verification, verified_table
from audio_lm.sweep.sources import fit_sweep, sweep_of
from audio_lm.sweep.start import open_sweep
from audio_lm.sweep.verify import check_ranks
from tests.sweep.small_sweeps import write_sweep
from tests.sweep.surfaces import finish_trials, true_losses


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """Function that makes a small sweep whose trials are finished: ledger, sweep and fit."""
    monkeypatch.chdir(tmp_path)

    def make(more="", **replace):
        ledger = open_sweep(str(write_sweep(tmp_path, more, **replace)), [])
        finish_trials(ledger)
        sweep = sweep_of(ledger)
        return ledger, sweep, fit_sweep(ledger, sweep)

    return make


def test_proposals_are_added_to_the_ledger_as_ordinary_trials(finished):
    ledger, sweep, fit = finished()
    count = len(ledger.state().trials)
    added = add_proposals(ledger, sweep, fit, 3)
    waiting = [one.trial for one in ledger.state().of("waiting")]
    assert waiting == added
    assert [trial.name for trial in added] == [f"{count + number:03d}" for number in range(3)]
    assert {trial.purpose for trial in added} == {"proposed"}
    assert added[0] == sweep.trial(added[0].name, "proposed", added[0].shares)


def test_proposals_that_wait_are_not_proposed_again(finished):
    ledger, sweep, fit = finished()
    both = [*add_proposals(ledger, sweep, fit, 2), *add_proposals(ledger, sweep, fit, 2)]
    points = np.array([[*trial.shares.values()] for trial in both])
    assert np.abs(points[:, None] - points).sum(axis=2)[np.triu_indices(4, 1)].min() > 0.02


@pytest.mark.slow
def test_further_trials_improve_the_best_mixture_that_was_run(finished):
    ledger, sweep, fit = finished()
    before = fit.measured_objective.min()
    add_proposals(ledger, sweep, fit, 4)
    finish_trials(ledger)
    assert fit_sweep(ledger, sweep).measured_objective.min() < before + 0.005


@pytest.mark.slow
def test_the_best_mixtures_and_the_recipe_are_verified_at_a_larger_scale(finished):
    ledger, sweep, fit = finished("verify: [stages.pretrain.steps=1000]\n")
    added = add_verification(ledger, sweep, fit, 2)
    assert [trial.purpose for trial in added] == ["verify"] * 3
    assert all(trial.overrides[-1] == "stages.pretrain.steps=1000" for trial in added)
    assert dict(added[2].shares) == pytest.approx(sweep.shares.of_recipe, abs=1e-4)
    assert add_verification(ledger, sweep, fit, 2) == [], "they are in the ledger"
    finish_trials(ledger, shift=0.5)
    again = fit_sweep(ledger, sweep)
    assert len(again.table) == len(fit.table), "larger trials are not part of the fit"
    found = check_ranks(again, verified_table(ledger, fit.table.tasks))
    assert len(found.runs) == 3
    assert not found.broken


def test_verification_without_larger_settings_is_refused(finished):
    ledger, sweep, fit = finished()
    with pytest.raises(DataError, match="`verify` is empty"):
        add_verification(ledger, sweep, fit, 2)


def test_proposals_keep_the_repetition_limit(finished):
    ledger, sweep, fit = finished(
        replace={"over: [sec, mna, mgr]": "over: [sec, mna, mgr]\n    max_epochs: 0.5"}
    )
    for trial in add_proposals(ledger, sweep, fit, 3):
        assert sweep.allows(trial.shares)


def test_the_known_surface_has_its_optimum_inside(finished):
    _, _, fit = finished()
    assert true_losses(fit.best.shares[None]).mean() < true_losses(np.full((1, 3), 1 / 3)).mean()
