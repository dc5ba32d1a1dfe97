"""Each mistake gives one sentence, exit code 2, no traceback, and leaves nothing behind."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import yaml

from audio_lm.tasks import registry
from tests.run.command import run

PARTS = {
    "encoder": {"lr": 1e-3},
    "projector": {"lr": 1e-3},
    "new_tokens": {"lr": 1e-3},
    "language_model": {"lr": None},
}


@pytest.fixture
def recipe(tmp_path, make_cuts, monkeypatch):
    """Valid recipe on four clips of noise; each test breaks one thing."""
    make_cuts(4)
    tree = {
        "use": {"model": "tiny", "hardware": "cpu"},
        "data_dir": str(tmp_path / "data"),
        "stages": {
            "pretrain": {
                "prompt": "tags",
                "mixture": {"sources": {"asr": ["made/noise-train"]}, "weights": {"asr": 1}},
                "parts": PARTS,
                "steps": 1,
            }
        },
    }
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return tree


def stage_of(tree):
    return tree["stages"]["pretrain"]


def misspell_a_key(tree, data):
    stage_of(tree)["stepz"] = stage_of(tree).pop("steps")


def name_an_unknown_task(tree, data):
    stage_of(tree)["mixture"] = {"sources": {"ars": ["made/noise-train"]}, "weights": {"ars": 1}}


def add_a_weight_without_a_source(tree, data):
    stage_of(tree)["mixture"]["weights"]["lid"] = 1


def add_a_part_that_matches_nothing(tree, data):
    stage_of(tree)["parts"] = {**PARTS, "adapter": {"lr": 1e-3}}


def leave_a_parameter_in_no_part(tree, data):
    stage_of(tree)["parts"] = {name: part for name, part in PARTS.items() if name != "projector"}


def remove_the_audio(tree, data):
    for path in data.glob("audio/*"):
        path.unlink()


def corrupt_the_audio(tree, data):
    for path in data.glob("audio/*"):
        path.write_bytes(b"fLaC" + b"\x00" * 400)


def empty_the_cut_set(tree, data):
    (data / "noise-train.jsonl").write_text("")


def _resize(data, num_samples):
    line = (data / "noise-train.jsonl").read_text().splitlines()[0]
    for path in data.glob("audio/*"):
        soundfile.write(path, np.zeros(num_samples), 16_000)
    cut = json.loads(line)
    cut["start"], cut["duration"] = 0.0, num_samples / 16_000
    cut["recording"] |= {"num_samples": num_samples, "duration": num_samples / 16_000}
    (data / "noise-train.jsonl").write_text(json.dumps(cut) + "\n")


def shorten_a_clip(tree, data):
    _resize(data, 300)


def lengthen_a_clip(tree, data):
    _resize(data, 16_000 * 31)


def write_to_a_forbidden_folder(tree, data):
    pass


MISTAKES = [
    (misspell_a_key, "stepz"),
    (name_an_unknown_task, "Did you mean 'asr'"),
    (add_a_weight_without_a_source, "no source for ['lid']"),
    (add_a_part_that_matches_nothing, "['adapter'] match no parameter"),
    (leave_a_parameter_in_no_part, "['projector'] are not mentioned"),
    (remove_the_audio, "is missing"),
    (corrupt_the_audio, "cannot be decoded"),
    (empty_the_cut_set, "has no cuts"),
    (shorten_a_clip, "has 2 frames"),
    (lengthen_a_clip, "longer than the encoder's 30 s"),
    (write_to_a_forbidden_folder, "cannot be written"),
]


@pytest.mark.parametrize(("mistake", "words"), MISTAKES, ids=[mistake.__name__ for mistake, _ in MISTAKES])
def test_a_mistake_gives_one_message(recipe, tmp_path, mistake, words, capsys):
    mistake(recipe, tmp_path / "data" / "made")
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    out = ["--out", "/proc/nobody/may"] if mistake is write_to_a_forbidden_folder else []
    assert run("train", str(path), *out) == 2
    output = capsys.readouterr().err
    assert words in output
    assert "Traceback" not in output
    assert not list((tmp_path / "work").iterdir()), "files were left behind"


def test_a_tag_outside_the_vocabulary_is_refused(recipe, tmp_path, monkeypatch, capsys):
    wrong = replace(
        registry.TASKS["asr"], tags=registry.TASKS["asr"].tags.replace("transcript|>", "transcripts|>")
    )
    monkeypatch.setitem(registry.TASKS.built_in, "asr", wrong)
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    assert run("train", str(path)) == 2
    assert "<|startoftranscripts|>" in capsys.readouterr().err
    assert not list((tmp_path / "work").iterdir())


def test_without_a_mistake_it_runs(recipe, tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    assert run("train", str(path)) == 0
    assert list((tmp_path / "work" / "runs").iterdir())
