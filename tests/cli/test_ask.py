import json
from pathlib import Path

import pytest

from audio_lm.cli.ask import parse_labels
from audio_lm.common.errors import UserError
from audio_lm.data.manifest.cuts import read_cuts
from tests.cli.command import run


@pytest.fixture(scope="module")
def clip(small):
    """Path of a synthesized clip."""
    (cut, *_) = read_cuts(Path(small.data_dir), "synthetic/events-test")
    return cut.recording.sources[0].source


def test_only_the_answer_is_printed(whole_run, clip, capfd):
    assert run("ask", whole_run.path, clip, "--task", "sec", "--max-new-tokens", 6) == 0
    (answer,) = capfd.readouterr().out.splitlines()
    assert run("ask", whole_run.path, clip, clip, "--task", "sec", "--max-new-tokens", 6) == 0
    assert capfd.readouterr().out.splitlines() == [answer, answer]


def test_a_question_about_several_clips_has_one_answer(whole_run, clip, capfd):
    assert run("ask", whole_run.path, clip, clip, "--question", "Which?", "--max-new-tokens", 1) == 0
    assert len(capfd.readouterr().out.splitlines()) <= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "ars"], "Did you mean 'asr'"),
        (["--long-audio", "drop"], "--long-audio drop -- expected error or truncate"),
        (["--label", "text"], "--label text -- expected name=value"),
        (["--stage", "pretrian"], "Did you mean 'pretrain'"),
        (["--stage", "pretrain"], "choose one with --task"),
    ],
)
def test_a_mistake_is_one_sentence(whole_run, clip, arguments, words, capfd):
    assert run("ask", whole_run.path, clip, *arguments) == 2
    output = capfd.readouterr()
    assert output.out == ""
    (line,) = (line for line in output.err.splitlines() if line.startswith("audio-lm:"))
    assert words in line


def test_a_missing_file_or_model_is_named(whole_run, tmp_path, capfd):
    assert run("ask", whole_run.path, tmp_path / "gone.wav", "--task", "sec") == 2
    assert "gone.wav is missing; give a file with audio" in capfd.readouterr().err
    assert run("ask", tmp_path / "gone", tmp_path / "gone.wav") == 2
    assert "does not exist; name the folder of a run or of a model" in capfd.readouterr().err


def test_labels_are_pairs():
    assert parse_labels(["target_language=de", "question=a=b"]) == {
        "target_language": "de",
        "question": "a=b",
    }
    with pytest.raises(UserError, match="expected name=value"):
        parse_labels(["de"])


def test_json_has_the_clips_and_the_answer_of_every_question(whole_run, clip, capfd):
    assert run("ask", whole_run.path, clip, clip, "--task", "sec", "--max-new-tokens", 6, "--json") == 0
    first, second = json.loads(capfd.readouterr().out)
    assert first == second
    assert (first["paths"], first["task"]) == ([clip], "sec")
    assert run("ask", whole_run.path, clip, "--task", "sec", "--max-new-tokens", 6) == 0
    assert capfd.readouterr().out == first["text"] + "\n"
