"""Commands of sweeps."""

import json

import pytest

from audio_lm.sweep.ledger import Ledger
from audio_lm.sweep.start import open_paired_seeds
from tests.cli.command import run
from tests.sweep.real_sweep import write_sweep
from tests.sweep.toy_sweep import open_toy_sweep, toy_worker


def test_status_prints_a_table_or_json(tmp_path, capsys):
    ledger = open_toy_sweep(tmp_path / "sweep", 2)
    toy_worker(ledger).work()
    assert run("sweep", "status", ledger.folder) == 0
    assert "2 finished, 0 running, 0 waiting" in capsys.readouterr().out
    assert run("sweep", "status", ledger.folder, "--json") == 0
    table = json.loads(capsys.readouterr().out)
    assert [trial["status"] for trial in table["trials"]] == ["finished", "finished"]
    assert run("sweep", "status", ledger.folder, "--watch") == 0, "it ends with the sweep"


@pytest.mark.parametrize("command", ["status", "work"])
def test_a_folder_without_a_sweep_is_one_sentence(tmp_path, capsys, command):
    assert run("sweep", command, tmp_path / "none") == 2
    assert "holds no sweep" in capsys.readouterr().err


def test_submit_writes_an_array_and_the_ledger_which_a_dry_run_only_prints(
    tmp_path, capsys, small_recipe, small, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = write_sweep(tmp_path, small_recipe)
    before = {*tmp_path.rglob("*")}
    assert run("sweep", "submit", path, "--workers", "3", "--dry-run") == 0
    output = capsys.readouterr()
    assert {*tmp_path.rglob("*")} == before, "nothing is written"
    monkeypatch.setenv("PATH", "")
    assert run("sweep", "submit", path, "--workers", "3") == 2
    assert "sbatch is not on PATH" in capsys.readouterr().err
    (script,) = tmp_path.glob("real-*.sbatch")
    assert script.read_text() == output.out
    assert "#SBATCH --array=0-2\n" in output.out
    (folder,) = (tmp_path / "sweeps").iterdir()
    assert str(folder) in output.out
    assert len(Ledger(folder).state().trials) == 6
    ledger, written = output.err.splitlines()[-2:]
    assert ledger.startswith(f"would write {folder}: 6 runs in")
    assert written == f"would write {script.name}, and pass it to sbatch:"


def test_a_file_without_a_command_is_run(tmp_path, capsys):
    assert run("sweep", tmp_path / "none.yaml") == 2
    assert "unknown sweep" in capsys.readouterr().err
    assert run("sweep", "run", tmp_path / "none.yaml") == 2


@pytest.mark.slow
def test_a_sweep_runs_to_its_end_and_a_second_start_has_nothing_to_do(
    tmp_path, capsys, small_recipe, small, monkeypatch
):
    """Six real runs, two at a time."""
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    path = write_sweep(tmp_path, small_recipe)
    assert run("sweep", path, "--workers", "2") == 0
    (folder,) = (tmp_path / "sweeps").iterdir()
    state = Ledger(folder).state()
    assert {one.status for one in state.trials.values()} == {"finished"}
    assert all({"val_loss/sec", "events/acc"} == one.values.keys() for one in state.trials.values())
    assert (folder / "ratios.csv").read_text().startswith("run,sec,mna\n000,")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name(folder.name).experiment_id])
    of_trials = {one.data.params["trial"]: one for one in runs if "trial" in one.data.params}
    assert of_trials.keys() == state.trials.keys()
    assert all("mlflow.parentRunId" not in one.data.tags for one in of_trials.values())
    assert float(of_trials["005"].data.params["share/sec"]) == 0.25
    capsys.readouterr()
    assert run("sweep", path) == 0
    assert "started" not in capsys.readouterr().out


@pytest.mark.slow
def test_paired_seeds_are_measured_by_a_command(tmp_path, capsys, small_recipe, small, monkeypatch):
    """Four real runs of two steps: two mixtures, each with the same two seeds."""
    monkeypatch.chdir(tmp_path)
    # Two of the six seeds, as many as a variance needs.
    monkeypatch.setattr("audio_lm.sweep.paired_seeds.MIN_PAIRS", 2)
    monkeypatch.setattr(
        "audio_lm.sweep.start.open_paired_seeds",
        lambda file, typed, num_seeds, **options: open_paired_seeds(file, typed, num_seeds - 4, **options),
    )
    path = write_sweep(tmp_path, small_recipe)
    short = [
        "stages.pretrain.steps=2",
        "stages.pretrain.validate_every=1",
        "stages.pretrain.mixture.weights.sec=3",
        "~evaluation.benchmarks.events",
    ]
    path.write_text(path.read_text().replace("  events/acc: {direction: max, weight: 0}\n", ""))
    assert run("bench", "sweep-noise", path, *short, "--workers", "2", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["metric"], found["num_pairs"]) == ("val_loss/sec", 2)
    (folder,) = (tmp_path / "sweeps").iterdir()
    values = {name: one.values["val_loss/sec"] for name, one in Ledger(folder).state().trials.items()}
    assert {name: one.trial.seed for name, one in Ledger(folder).state().trials.items()} == {
        "000": 0, "001": 0, "002": 1, "003": 1
    }  # fmt: skip
    differences = [values["000"] - values["001"], values["002"] - values["003"]]
    assert found["effect"] == pytest.approx(sum(differences) / 2, abs=1e-9)
    assert found["paired"] == pytest.approx((differences[0] - differences[1]) ** 2 / 2, abs=1e-9)
    assert 0 <= found["ratio"] <= 2
