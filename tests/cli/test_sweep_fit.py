import json

import pytest

from tests.cli.command import run
from tests.sweep.small_sweeps import write_sweep
from tests.sweep.surfaces import finish_trials, known_table


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sweep_folder(tmp_path):
    """Folder of a small sweep whose trials are finished."""
    from audio_lm.sweep.start import open_sweep

    path = write_sweep(tmp_path, "verify: [stages.pretrain.steps=1000]\n")
    ledger = open_sweep(str(path), [])
    finish_trials(ledger)
    return ledger.folder


def test_tables_of_any_program_are_fitted(tmp_path, capsys):
    known_table(16).write(tmp_path)
    assert (
        run(
            "sweep",
            "fit",
            tmp_path,
            "--metric",
            "val_loss/asr=min",
            "--metric",
            "val_loss/aac=min*2",
            "--next",
            "2",
        )
        == 0
    )
    output = capsys.readouterr().out
    assert "best mixture: " in output
    assert output.count("next: ") == 2
    assert "val_loss/lid" not in output
    assert (
        run("sweep", "fit", tmp_path / "ratios.csv", tmp_path / "metrics.csv", "--json", "--next", "1") == 0
    )
    table = json.loads(capsys.readouterr().out)
    assert len(table["metrics"]) == 3
    assert len(table["next"]) == 1


@pytest.mark.slow
def test_a_sweep_is_fitted_extended_and_verified(sweep_folder, capsys):
    from audio_lm.sweep.ledger import Ledger

    assert run("sweep", "fit", sweep_folder) == 0
    assert "recipe's own weights: " in capsys.readouterr().out
    assert run("sweep", "extend", "small", "--num", "2") == 0
    assert f"audio-lm sweep work {sweep_folder}" in capsys.readouterr().out
    assert run("sweep", "verify", "small", "--top", "2") == 0
    assert "3 trials are not finished" in capsys.readouterr().out
    finish_trials(Ledger(sweep_folder), shift=0.2)
    assert run("sweep", "verify", "small", "--top", "2") == 0
    assert "measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none"], "sweeps of this name"),
        ([".", "--metric", "wer=min"], "unknown metric 'wer'"),
        ([".", "--reuse", "none/at/all"], "holds no sweep"),
        ([".", "--features", "none/at/all"], "holds no sweep"),
        ([".", "--early", "0.3"], "were measured only at the end"),
    ],
)
def test_a_wrong_place_or_option_is_one_sentence(tmp_path, capsys, arguments, words):
    known_table(10).write(tmp_path)
    assert run("sweep", "fit", *arguments) == 2
    assert words in capsys.readouterr().err


def test_metrics_of_a_sweep_are_those_of_its_file(sweep_folder, capsys):
    assert run("sweep", "fit", sweep_folder, "--metric", "val_loss/sec=min") == 2
    assert "whose file has the metrics" in capsys.readouterr().err


def test_experts_are_added_and_have_to_run_first(sweep_folder, capsys):
    assert run("sweep", "experts", sweep_folder) == 0
    output = capsys.readouterr().out
    assert output.count(" alone") == 3
    assert f"3 experts are not finished; run them: audio-lm sweep work {sweep_folder}" in output
    assert run("sweep", "experts", sweep_folder, "--average", "logits") == 2
    assert "expected weights or probabilities" in capsys.readouterr().err
