"""A user's own data is imported and trained on in two commands."""

import json

import numpy as np
import pytest
import soundfile

from tests.run.command import run

TEXTS = ("one two", "three", "four five six", "seven")
STEP = ("use.model=tiny", "tracking.uri=sqlite:///mlflow.db")


@pytest.fixture
def wavs(tmp_path, monkeypatch):
    """A folder of four clips, beside the working directory."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(4):
        wave = np.random.default_rng(number).normal(0, 0.1, 16_000)
        soundfile.write(folder / f"{number}.wav", wave, 16_000)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def folder_with_a_table(wavs):
    rows = [f"{number}.wav,{text}\n" for number, text in enumerate(TEXTS)]
    (wavs / "metadata.csv").write_text("file_name,text\n" + "".join(rows))
    return (
        ("table", wavs / "metadata.csv", "--language", "en"),
        "mine/all",
        "own_speech",
        "pretrain",
    )


def kaldi_directory(wavs):
    folder = wavs.parent / "kaldi"
    folder.mkdir()
    (folder / "wav.scp").write_text("".join(f"u{number} {wavs / f'{number}.wav'}\n" for number in range(4)))
    (folder / "text").write_text("".join(f"u{number} {text}\n" for number, text in enumerate(TEXTS)))
    return ("kaldi", folder, "--language", "en"), "mine/all", "own_speech", "pretrain"


def folder_with_labels(wavs):
    rows = [f"{number}.wav,{'low' if number % 2 else 'high'}\n" for number in range(4)]
    (wavs / "metadata.csv").write_text("file_name,label\n" + "".join(rows))
    return ("table", wavs / "metadata.csv"), "mine/all", "own_labels", "pretrain"


def swift_conversations(wavs):
    rows = [
        {
            "messages": [
                {"role": "user", "content": "<audio>Transcribe the clip."},
                {"role": "assistant", "content": text},
            ],
            "audios": [str(wavs / f"{number}.wav")],
        }
        for number, text in enumerate(TEXTS)
    ]
    path = wavs.parent / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ("ms-swift", path), "mine/chats", "own_chats", "chat"


@pytest.mark.slow
@pytest.mark.parametrize(
    "make_data", [folder_with_a_table, kaldi_directory, folder_with_labels, swift_conversations]
)
def test_own_data_reaches_a_training_step(wavs, make_data, tmp_path):
    arguments, into, recipe, stage = make_data(wavs)
    for split in ("train", "validation", "test"):
        assert run("import", *arguments, "--into", f"{into}-{split}") == 0
    assert run("train", recipe, *STEP, f"stages.{stage}.steps=1", "--out", tmp_path / "run") == 0
    status = json.loads((tmp_path / "run" / "stages" / stage / "status.json").read_text())
    assert status["finished"]
    shares = json.loads((tmp_path / "run" / "stages" / stage / "mixture.json").read_text())
    assert shares["leaves"][0]["clips"] >= 4


def test_a_format_that_does_not_exist_is_answered_with_the_nearest(wavs, capsys):
    assert run("import", "kaldy", wavs) == 2
    assert "Did you mean 'kaldi'" in capsys.readouterr().err


def test_the_list_has_every_format_with_an_example(capsys):
    assert run("import", "--list") == 0
    output = capsys.readouterr().out
    for name in ("table", "kaldi", "ms-swift", "llama-factory", "nemo", "qwen-eval", "salmonn"):
        assert name in output
