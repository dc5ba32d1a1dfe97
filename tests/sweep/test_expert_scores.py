import numpy as np
import pytest

from audio_lm.common.errors import DataError
from audio_lm.sweep.expert_scores import EXPERTS, MixedExperts, add_experts, score_mixtures
from audio_lm.sweep.experts import features_from
from audio_lm.sweep.sources import sweep_of
from audio_lm.sweep.start import open_sweep
from audio_lm.sweep.table import METRICS, RATIOS, TrialTable
from tests.cli.command import run
from tests.sweep.real_sweep import RealWorker, open_real_sweep
from tests.sweep.small_sweeps import write_sweep
from tests.sweep.surfaces import NobodyIsDead, finish_trials

PATIENCE = 600


def test_an_expert_per_task_is_added_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ledger = open_sweep(str(write_sweep(tmp_path)), [])
    finish_trials(ledger)
    sweep = sweep_of(ledger)
    added = add_experts(ledger, sweep)
    assert [trial.shares for trial in added] == [
        {"sec": 1.0, "mna": 0.0, "mgr": 0.0},
        {"sec": 0.0, "mna": 1.0, "mgr": 0.0},
        {"sec": 0.0, "mna": 0.0, "mgr": 1.0},
    ]
    assert add_experts(ledger, sweep) == []
    with pytest.raises(DataError, match=r"the experts of \['sec', 'mna', 'mgr'\] are not finished"):
        score_mixtures(ledger, sweep, count=8)


def test_a_sweep_without_validation_loss_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_sweep(
        tmp_path, replace={"  val_loss/sec: {direction: min}\n  val_loss/mna: {direction: min}\n": ""}
    )
    ledger = open_sweep(str(path), [])
    with pytest.raises(DataError, match="expected val_loss/<task> among them"):
        add_experts(ledger, sweep_of(ledger))


@pytest.mark.slow
def test_experts_that_are_not_mixed_score_as_in_their_runs(tmp_path, small_recipe, small):
    ledger = open_real_sweep(tmp_path, small_recipe)
    while (claim := ledger.claim("test", NobodyIsDead())) is not None:
        ledger.end(claim, "finished", "", {"val_loss/sec": 1.0, "events/acc": 0.5})
    sweep = sweep_of(ledger)
    experts = add_experts(ledger, sweep)
    assert RealWorker(ledger.folder).end(PATIENCE) == 0
    state = ledger.state()
    measured = [state.trials[trial.name].values["val_loss/sec"] for trial in experts]
    model = MixedExperts([ledger.run_folder(trial) for trial in experts], sweep.stage)
    shares = np.vstack([np.eye(2), [[0.5, 0.5]]])
    of_weights, of_probabilities = model.losses_of_weights(shares), model.losses_of_probabilities(shares)
    for found in (of_weights, of_probabilities):
        np.testing.assert_allclose(found["val_loss/sec"][:2], measured, rtol=1e-5)
    assert of_weights.keys() == of_probabilities.keys() == {"val_loss/sec", "val_loss/all"}
    assert of_probabilities["val_loss/sec"][2] < np.mean(measured), "the logarithm is concave"
    assert run("sweep", "experts", ledger.folder, "--mixtures", "12", "--average", "probabilities") == 0
    table = TrialTable.read(ledger.folder / EXPERTS / RATIOS, ledger.folder / EXPERTS / METRICS)
    assert len(table) == 12
    assert [*table.metrics] == ["val_loss/sec"]
    assert features_from(table, ledger.facts.tasks, ledger.facts.metrics).keys() == {"val_loss/sec"}
