"""From recordings with a label to answers of an exported model, by the six commands of ``docs/recipes.md``."""

import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.run.command import run

LABELS = ("quiet", "loud")
TINY = ("use.model=tiny", "stages.pretrain.steps=4", "stages.pretrain.validate_every=2")


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """A folder of 40 clips of two loudnesses, and their table."""
    folder = tmp_path / "clips"
    folder.mkdir()
    rows = ["file_name,loudness"]
    for number in range(40):
        wave = np.random.default_rng(number).normal(0, 0.001 + 0.2 * (number % 2), 16_000)
        soundfile.write(folder / f"{number}.wav", wave.clip(-1, 1), 16_000)
        rows.append(f"{number}.wav,{LABELS[number % 2]}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.slow
def test_six_commands_lead_from_a_table_to_answers_of_the_exported_folder(clips, tmp_path, capsys):
    shares = ("--split-by", "recording", "--test", "0.2", "--validation", "0.1")
    assert run("import", "table", clips / "metadata.csv", *shares, "--into", "mine/all-train") == 0
    assert "labels of your own: loudness (quiet | loud)" in capsys.readouterr().out
    own = ("tasks.own.label=loudness", "tasks.own.prompt=How loud is it?", "tracking.uri=sqlite:///mlflow.db")
    assert run("train", "own_labels", *own, *TINY, "--out", "runs/loudness") == 0
    capsys.readouterr()
    assert run("report", "runs/loudness", "--details") == 0
    table = capsys.readouterr().out
    assert "majority" in table
    assert "in the training data" in table
    assert "answers to each reference, 8 clips" in table
    assert run("ask", "runs/loudness", clips / "1.wav") == 0
    answer = capsys.readouterr().out
    assert run("export", "runs/loudness", "exported") == 0
    script = [sys.executable, tmp_path / "exported" / "run.py", "own", clips / "1.wav"]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    # After four steps answers are noise, and transformers leaves out its special tokens.
    assert printed.strip() == re.sub(r"<\|[a-z_]+\|>", "", answer).strip()
