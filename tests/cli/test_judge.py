import json

import pytest

from tests.cli.command import run


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps({"id": "0", "question": "What?", "reference": "A dog.", "answer": "A cat."}))
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "none of --endpoint, --export and --import"),
        (["--export", "a", "--import", "b"], "several of --endpoint, --export and --import"),
        (["--export", "a"], "--export without --judge"),
        (["--export", "a", "--judge", "gpt", "--benchmarks", "x"], "--benchmarks has no effect"),
    ],
)
def test_options_that_do_not_fit_are_refused(file, options, message, capsys):
    assert run("judge", file, *options) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_benchmark_is_refused(whole_run, capsys):
    assert run("judge", whole_run.path, "--export", "a", "--judge", "b", "--benchmarks", "dialogue") == 2
    assert "Did you mean 'dialogues'?" in capsys.readouterr().err
