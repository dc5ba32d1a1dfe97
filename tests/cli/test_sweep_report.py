import shutil
from pathlib import Path

from audio_lm.config import load
from audio_lm.sweep.load import load_sweep
from tests.run.command import run
from tests.sweep.report.test_from_ledger import finished_ledger
from tests.sweep.small_sweeps import write_sweep

CONF = Path(__file__).parents[2] / "conf"


def test_a_report_is_made_from_the_folder_of_a_sweep(tmp_path, monkeypatch, capsys):
    shutil.copytree(CONF, tmp_path / "conf")
    monkeypatch.setattr(load, "resource_folder", {"conf": tmp_path / "conf", "recipes": tmp_path}.__getitem__)
    monkeypatch.chdir(tmp_path)
    ledger = finished_ledger(tmp_path / "sweeps" / "small", load_sweep(write_sweep(tmp_path)))
    assert run("sweep", "report", ledger.folder, "--mixture", "small_best") == 0
    output = capsys.readouterr().out
    assert "The best predicted mixture is" in output
    assert "stages.pretrain.mixture=small_best" in output
    assert (ledger.folder / "report" / "report.html").is_file()
    recipe = load.load_recipe(tmp_path / "base.yaml", ["stages.pretrain.mixture=small_best"]).recipe
    assert recipe.stages["pretrain"].mixture.weights.keys() == {"sec", "mna", "mgr", "asc"}


def test_a_folder_without_a_sweep_is_refused_in_one_sentence(tmp_path, capsys):
    assert run("sweep", "report", tmp_path) == 2
    assert "holds no sweep" in capsys.readouterr().err
