import pytest

from audio_lm.config.load import load_recipe
from audio_lm.sweep.load import load_sweep
from tests.run.command import run
from tests.sweep.report.conftest import make_table
from tests.sweep.report.test_from_results import finished_ledger
from tests.sweep.small_sweeps import write_sweep


@pytest.mark.slow  # MLflow
def test_a_report_is_made_from_the_folder_of_a_sweep(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ledger = finished_ledger(tmp_path / "sweeps" / "small", load_sweep(write_sweep(tmp_path)))
    assert run("sweep", "report", ledger.folder, "--mixture", "small_best") == 0
    output = capsys.readouterr().out
    assert "The best predicted mixture is" in output
    assert "stages.pretrain.mixture=small_best" in output
    assert (ledger.folder / "report" / "report.html").is_file()
    recipe = load_recipe(tmp_path / "base.yaml", ["stages.pretrain.mixture=small_best"]).recipe
    assert recipe.stages["pretrain"].mixture.weights.keys() == {"sec", "mna", "mgr", "asc"}


def test_a_folder_without_a_sweep_is_refused_in_one_sentence(tmp_path, capsys):
    assert run("sweep", "report", tmp_path) == 2
    assert "holds no sweep" in capsys.readouterr().err


def test_a_report_is_made_from_two_tables(tmp_path, capsys):
    make_table().write(tmp_path)
    ratios, metrics = tmp_path / "ratios.csv", tmp_path / "metrics.csv"
    assert (
        run("sweep", "report", ratios, metrics, "--metric", "val_loss/asr=min", "--out", tmp_path / "out")
        == 0
    )
    assert (tmp_path / "out" / "report.md").is_file()
    assert run("sweep", "report", ratios, metrics, "--mixture", "best") == 2
    assert "without a recipe" in capsys.readouterr().err
