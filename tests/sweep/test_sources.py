import numpy as np
import pytest

from audio_lm.common.errors import DataError, RecipeError, UserError
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.ledger import Ledger
from audio_lm.sweep.sources import fit_sweep, metrics_from, read_results, sweep_of
from audio_lm.sweep.start import open_sweep
from audio_lm.sweep.table import METRICS, RATIOS
from tests.sweep.small_sweeps import write_sweep
from tests.sweep.surfaces import finish_trials, known_table


def test_a_sweep_is_fitted_within_its_bounds_with_its_metrics(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_sweep(
        tmp_path, replace={"over: [sec, mna, mgr]": "over: [sec, mna, mgr]\n    max: {sec: 0.3}"}
    )
    ledger = open_sweep(str(path), [])
    finish_trials(ledger)
    fit = fit_sweep(ledger, sweep_of(ledger))
    assert set(fit.surfaces) == {"val_loss/sec", "val_loss/mna", "events/acc"}
    assert fit.best.shares[0] <= 0.3 / 0.8 + 1e-6, "bounds are of the whole mixture, of which 0.8 are varied"
    assert fit.noise["val_loss/sec"] < 0.05
    np.testing.assert_allclose(fit.prior, [0.5, 0.25, 0.25], atol=1e-5)


def test_a_sweep_file_that_was_changed_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_sweep(tmp_path)
    ledger = open_sweep(str(path), [])
    path.write_text(path.read_text() + "repeats: 5\n")
    with pytest.raises(RecipeError, match="undo the change, or start a new sweep"):
        sweep_of(ledger)


def test_results_are_read_from_a_folder_or_from_two_files(tmp_path):
    table = known_table(4)
    table.write(tmp_path)
    assert read_results(str(tmp_path)).runs == table.runs
    assert read_results(str(tmp_path / RATIOS), tmp_path / METRICS).runs == table.runs
    with pytest.raises(DataError, match="add it as the second argument"):
        read_results(str(tmp_path / RATIOS))
    with pytest.raises(UserError, match="holds no sweep"):
        read_results(str(tmp_path / "none"))


def test_a_folder_with_a_ledger_is_a_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ledger = open_sweep(str(write_sweep(tmp_path)), [])
    known_table(4).write(ledger.folder)
    assert isinstance(read_results(str(ledger.folder)), Ledger)


def test_all_metrics_of_a_table_are_losses_unless_stated():
    assert set(metrics_from([], known_table(3)).values()) == {MetricConfig()}
    assert metrics_from(["val_loss/asr=max*2"], known_table(3)) == {"val_loss/asr": MetricConfig("max", 2.0)}


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("val_loss/asr", "expected NAME=min"),
        ("val_loss/asr=most", "expected NAME=min"),
        ("val_loss/asr=min*much", "expected NAME=min"),
        ("val_loss/asr=min*-1", "expected NAME=min"),
        ("val_loss/ars=min", "Did you mean 'val_loss/asr'"),
    ],
)
def test_a_wrong_metric_is_refused(option, words):
    with pytest.raises(DataError, match=words):
        metrics_from([option], known_table(3))
