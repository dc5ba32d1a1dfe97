"""The script of an exported folder, run without this project."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
from lhotse import Recording
from lhotse.cut import MonoCut

from audio_lm import predict
from audio_lm.export.run import ExportSettings, export_run
from audio_lm.export.script import fields_of, run_script
from audio_lm.export.trained import TrainedTask


def answer(folder, *arguments):
    """Output of ``run.py`` in a process that cannot import this project."""
    done = subprocess.run(
        [sys.executable, "-P", str(folder / "run.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder.parent,
        env={"HF_HUB_OFFLINE": "1", "PATH": "", "OMP_NUM_THREADS": "1"},
    )
    return done.returncode, done.stdout.strip(), done.stderr


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32), 16_000)
    return path


@pytest.mark.parametrize(("stage", "task"), [("pretrain", "sec"), ("pretrain", "mna")])
def test_it_prints_the_answer_of_our_model(whole_run, clip, tmp_path, stage, task):
    folder = tmp_path / "folder"
    export_run(whole_run.path, folder, ExportSettings(stage=stage), report=lambda line: None)
    code, got, errors = answer(folder, task, clip)
    assert code == 0, errors
    recording = Recording.from_file(clip)
    cut = MonoCut("x", 0.0, recording.duration, 0, recording=recording)
    (expected,) = predict(whole_run.path, [cut], task, stage=stage)
    ours = expected.answer.removesuffix("<|endoftext|>").strip()
    assert got == ours


def test_files_of_any_rate_and_number_of_channels_are_read(whole_run, clip, tmp_path):
    folder = tmp_path / "folder"
    export_run(whole_run.path, folder, ExportSettings(dtype="bfloat16"), report=lambda line: None)
    stereo = tmp_path / "a=b.flac"
    soundfile.write(stereo, np.zeros((4_000, 2), np.float32), 8_000)
    code, _, errors = answer(folder, "chat", stereo, "text=Is it {loud}?")
    assert code == 0, errors
    code, _, errors = answer(folder, "mna", clip)
    assert code == 0, errors


def test_a_mistake_is_answered_with_the_usage(whole_run, clip, tmp_path):
    folder = tmp_path / "folder"
    export_run(whole_run.path, folder, report=lambda line: None)
    assert answer(folder)[0] == 1
    code, _, errors = answer(folder, "nothing", clip)
    assert (code, errors.count("\n")) == (1, 1)
    assert "tasks: chat, sec, mna" in errors
    code, _, errors = answer(folder, "chat")
    assert "chat needs 1 clip(s), not 0" in errors
    assert "nothing.wav is neither a file nor a field" in answer(folder, "chat", "nothing.wav")[2]
    assert "txt is neither a file nor a field; fields: text" in answer(folder, "chat", clip, "txt=Hello")[2]
    long = tmp_path / "long.wav"
    soundfile.write(long, np.zeros(16_000 * 31, np.float32), 16_000)
    assert "longer than 30 s" in answer(folder, "chat", long)[2]


def test_every_field_of_a_prompt_has_a_value():
    prompts = {"asr": "<|{language}|>", "x": "to {target_language_name}", "own": "{mood}?"}
    assert fields_of(prompts, ["de", "en"]) == {
        "language": "de",
        "target_language_name": "English",
        "mood": "",
    }
    assert fields_of(prompts, [])["language"] == "en"


def test_quotes_and_line_breaks_in_a_prompt_stay_text():
    text = 'say "it\'s"\n\\{language}'
    task = TrainedTask("own", "own", "natural", ("one",), 1, (text,), text)
    variables = {}
    head = run_script([task]).split("PROMPTS = ")[1].split("\ntask, ")[0]
    exec("PROMPTS = " + head, variables)
    assert variables["PROMPTS"] == {"own": text}
