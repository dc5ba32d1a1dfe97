import ast
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from audio_lm.cli import main as cli
from audio_lm.cli import options
from audio_lm.common.errors import AlreadyReportedError, DataError
from tests.cli.command import run

ROOT = Path(__file__).parents[2]

TRAINING_ONLY = ["lightning", "mlflow", "scipy", "pandas", "torch._dynamo", "sympy"]
"""Libraries that no preview needs. Filling a tensor on the meta device imports the last two, which takes a second."""


def imported_by(arguments, libraries):
    """Libraries that a command imports in a new process, of those given."""
    code = (
        "import sys, audio_lm.cli.main as c\n"
        "try: c.main(sys.argv[2:])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.argv[1].split() if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, " ".join(libraries), *map(str, arguments)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return ast.literal_eval(output.splitlines()[-1])


def test_help_is_instant_and_imports_nothing_heavy():
    heavy = ["torch", "transformers", "lhotse", "omegaconf", "huggingface_hub", "tokenizers", *TRAINING_ONLY]
    assert imported_by(["--help"], heavy) == []


def test_a_plan_imports_neither_training_nor_modelling_code():
    modelling = ["transformers.modeling_utils", "transformers.models.qwen2.modeling_qwen2"]
    assert imported_by(["plan", "qwen_audio"], [*TRAINING_ONLY, *modelling]) == []


def test_a_description_of_prepared_data_does_not_import_transformers(small_recipe, own_vocabulary):
    heavy = ["transformers", "huggingface_hub", *TRAINING_ONLY]
    assert imported_by(["describe", small_recipe], heavy) == []


@pytest.mark.parametrize("command", ["train", "describe", "prepare", "evaluate", "score", "report"])
def test_help_of_every_command_has_an_example(command, capsys):
    assert run(command, "--help") == 0
    assert "Example" in capsys.readouterr().out


def commands(command, path=()):
    """Every command and group with its words on the command line."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(cli.app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_shows_every_word_of_its_text(path, monkeypatch, capsys):
    """Markdown drops ``<word>`` outside of backticks."""
    monkeypatch.setenv("COLUMNS", "1000")
    assert run(*path, "--help") == 0
    shown = set(re.split(r"[\s│]+", capsys.readouterr().out))
    texts = [COMMANDS[path].help, *(getattr(parameter, "help", None) for parameter in COMMANDS[path].params)]
    lost = {word for text in texts if text for word in text.replace("`", "").split()} - shown
    assert not lost


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "dmeo"], "Did you mean 'demo'"),
        (["describe", "demo", "sed=1"], "seed"),
        (["train", "demo", "seed"], "not key=value"),
        (["prepare", "synthetik"], "Did you mean 'synthetic'"),
        (["report", "nowhere"], "holds no run"),
        (["trian", "demo"], "trian"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, words, capsys):
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_an_error_that_another_rank_has_reported_is_not_repeated(monkeypatch, capsys):
    def code_and_output(error):
        monkeypatch.setattr("audio_lm.config.load.load_recipe", lambda *_, **__: (_ for _ in ()).throw(error))
        code = run("train", "demo")
        return code, capsys.readouterr().err

    assert code_and_output(DataError("no cut")) == (2, "audio-lm: no cut\n")
    assert code_and_output(AlreadyReportedError("no cut")) == (2, "")


@pytest.mark.parametrize(("number", "is_user_error"), [(errno.ENOSPC, True), (errno.EIO, False)])
def test_a_full_disk_is_one_sentence_and_other_errors_are_internal(
    monkeypatch, capsys, number, is_user_error
):
    def full(*_, **__):
        raise OSError(number, os.strerror(number), "runs/x/mixture.json")

    monkeypatch.setattr("audio_lm.run.train.train", full)
    if not is_user_error:
        with pytest.raises(OSError, match="mixture"):
            run("train", "demo", "hardware.devices=1")
        return
    assert run("train", "demo", "hardware.devices=1") == 2
    output = capsys.readouterr().err
    assert output.startswith(
        "audio-lm: runs/x/mixture.json cannot be written (No space left on device) -- free disk space"
    )
    assert "resume=auto" in output


def test_the_module_runs_main_after_all_definitions():
    assert Path(cli.__file__).read_text().endswith('\n\n\nif __name__ == "__main__":\n    main()\n')


def test_recipes_and_keys_are_completed():
    assert "demo" in options.known_recipes("de")
