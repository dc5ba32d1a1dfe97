"""Summary run of a sweep in MLflow."""

import json

import pytest
from mlflow import MlflowClient

from audio_lm.sweep.summary import write_summary
from audio_lm.sweep.table import TrialTable
from tests.sweep.real_sweep import open_real_sweep
from tests.sweep.test_ledger import NOBODY


@pytest.fixture
def store(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return MlflowClient(uri)


def end_all(ledger):
    """End all trials; the last one has failed."""
    *first, last = ledger.state().trials
    for number, _ in enumerate(first):
        values = {"val_loss/sec": float(number), "events/acc": 0.5}
        ledger.end(ledger.claim("w", NOBODY), "finished", "", values)
    ledger.end(ledger.claim("w", NOBODY), "failed", "out of memory", {})
    return last


def test_the_summary_has_tables_and_best_values_and_says_what_is_left_out(
    tmp_path, store, small_recipe, small
):
    ledger = open_real_sweep(tmp_path, small_recipe)
    last, lines = end_all(ledger), []
    picture = tmp_path / "ternary.png"
    picture.write_bytes(b"picture")
    folder = write_summary(ledger, lines.append, [picture])
    write_summary(ledger, lines.append)  # a second one continues the same run
    assert lines[0] == f"not in ratios.csv and metrics.csv: trial {last} was failed: out of memory"
    experiment = store.get_experiment_by_name(ledger.facts.name)
    (run,) = store.search_runs([experiment.experiment_id])
    assert run.info.run_name == f"{ledger.facts.name} summary"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["best/val_loss/sec"] == 0
    assert run.data.metrics["trials_failed"] == 1
    names = {item.path for item in store.list_artifacts(run.info.run_id)}
    assert {"ratios.csv", "metrics.csv", "trials.json", "report"} <= names
    table = TrialTable.read(ledger.folder / "ratios.csv", ledger.folder / "metrics.csv")
    assert len(table) == len(ledger.state().trials) - 1
    rows = json.loads((folder / "trials.json").read_text())
    assert "out of memory" in rows["data"][-1]


def test_a_sweep_without_a_finished_trial_has_a_summary_without_tables(tmp_path, store, small_recipe, small):
    ledger, lines = open_real_sweep(tmp_path, small_recipe), []
    write_summary(ledger, lines.append)
    assert len(lines) == len(ledger.state().trials)
    assert not (ledger.folder / "ratios.csv").exists()


def test_an_unreachable_store_is_reported_and_loses_nothing(tmp_path, monkeypatch, small_recipe, small):
    ledger, lines = open_real_sweep(tmp_path, small_recipe), []
    end_all(ledger)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/recipe.yaml/none/mlflow.db")
    (tmp_path / "recipe.yaml").write_text("")
    folder = write_summary(ledger, lines.append)
    assert "the rest is kept" in lines[-1]
    assert (folder / "tracking.jsonl").exists()
