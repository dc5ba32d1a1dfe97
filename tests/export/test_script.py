"""The script of an exported folder, run without this project."""

import runpy
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from lhotse import Recording
from lhotse.cut import MonoCut

from audio_lm import predict
from audio_lm.export.run import ExportSettings, export_run
from audio_lm.export.script import NAME, fields_of, run_script
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_files_of_any_rate_and_number_of_channels_are_read(whole_run, clip, tmp_path):
    folder = tmp_path / "folder"
    export_run(whole_run.path, folder, ExportSettings(dtype="bfloat16"), report=lambda line: None)
    stereo = tmp_path / "a=b.flac"
    soundfile.write(stereo, np.zeros((4_000, 2), np.float32), 8_000)
    code, _, errors = answer(folder, "chat", stereo, "text=Is it {loud}?")
    assert code == 0, errors
    code, _, errors = answer(folder, "mna", clip)
    assert code == 0, errors


def refusal(monkeypatch, script, *arguments):
    """Message that ``run.py`` ends with, in this process, which has imported its packages already."""
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(script), run_name="__main__")
    return caught.value.code


def test_a_mistake_is_answered_with_the_usage(whole_run, clip, tmp_path, monkeypatch):
    folder, long = tmp_path / "folder", tmp_path / "long.wav"
    export_run(whole_run.path, folder, report=lambda line: None)
    soundfile.write(long, np.zeros(16_000 * 31, np.float32), 16_000)
    script = folder / NAME
    for arguments in ((), ("nothing", clip)):
        assert "tasks: chat, sec, mna" in refusal(monkeypatch, script, *arguments)
    assert "chat needs 1 clip(s), not 0" in refusal(monkeypatch, script, "chat")
    assert refusal(monkeypatch, script, "chat", "x.wav").startswith("x.wav is neither a file nor a field")
    unknown = refusal(monkeypatch, script, "chat", clip, "txt=Hello")
    assert "txt is neither a file nor a field; fields: text" in unknown
    assert "longer than 30 s" in refusal(monkeypatch, script, "chat", long)


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
