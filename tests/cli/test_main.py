import ast
import errno
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from audio_lm.cli import main as cli
from audio_lm.cli import options
from audio_lm.common.errors import AlreadyReportedError, DataError

ROOT = Path(__file__).parents[2]


def run(*arguments):
    """Exit code of a command, in this process."""
    try:
        cli.main(list(arguments))
    except SystemExit as left:
        return left.code or 0
    return 0


TRAINING_ONLY = ["lightning", "mlflow", "scipy", "pandas", "torch._dynamo", "sympy"]
"""Libraries that no preview needs; the last two are torch's compiler, a second that any fill on the meta device costs."""


def imported_by(arguments, libraries):
    """Those of some libraries that a command imports, in a process of its own."""
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
def test_every_command_teaches_by_example(command, capsys):
    assert run(command, "--help") == 0
    assert "Example" in capsys.readouterr().out


def commands(command, path=()):
    """Every command and group, by the words that call it."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(cli.app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_loses_no_word_of_what_is_written(path, monkeypatch, capsys):
    """As Markdown would lose ``<word>`` outside of backticks."""
    monkeypatch.setenv("COLUMNS", "1000")
    assert run(*path, "--help") == 0
    shown = set(re.split(r"[\s│]+", capsys.readouterr().out))
    texts = [COMMANDS[path].help, *(getattr(one, "help", None) for one in COMMANDS[path].params)]
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


def test_what_another_rank_says_ends_in_silence_with_the_same_code(monkeypatch, capsys):
    def find(error):
        monkeypatch.setattr("audio_lm.config.load.load_recipe", lambda *_, **__: (_ for _ in ()).throw(error))
        code = run("train", "demo")
        return code, capsys.readouterr().err

    assert find(DataError("no cut")) == (2, "audio-lm: no cut\n")
    assert find(AlreadyReportedError("no cut")) == (2, "")


@pytest.mark.parametrize(("number", "is_said"), [(errno.ENOSPC, True), (errno.EIO, False)])
def test_a_disk_without_room_is_one_sentence_and_other_errors_are_ours(monkeypatch, capsys, number, is_said):
    def full(*_, **__):
        raise OSError(number, os.strerror(number), "runs/x/mixture.json")

    monkeypatch.setattr("audio_lm.run.train.train", full)
    if not is_said:
        with pytest.raises(OSError, match="mixture"):
            run("train", "demo", "hardware.devices=1")
        return
    assert run("train", "demo", "hardware.devices=1") == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "audio-lm: runs/x/mixture.json cannot be written (No space left on device) -- make"
    )
    assert "resume=auto" in said


def test_a_column_without_a_label_is_refused(capsys, tmp_path):
    assert run("import", "table", str(tmp_path), "--column", "transcription") == 2
    assert "--column transcription -- expected name=label" in capsys.readouterr().err


def test_as_a_module_it_knows_all_it_needs_before_it_begins():
    assert Path(cli.__file__).read_text().endswith('\n\n\nif __name__ == "__main__":\n    main()\n')


def test_describe_shows_the_demo(capsys):
    assert run("describe", "demo", "--examples", "0") == 0
    assert "language" in capsys.readouterr().out


def test_recipes_and_keys_are_completed():
    assert "demo" in options.known_recipes("de")


def test_train_py_is_the_train_command():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "train.py", "recipes/nothing.yaml"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 2
    assert "unknown recipe" in done.stderr


def test_a_plan_for_other_programs_needs_no_audio_and_little_time(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    assert run("plan", str(ROOT / "recipes" / "qwen_audio.yaml"), "--json") == 0
    assert time.monotonic() - began < 20
    pretrain, chat = json.loads(capsys.readouterr().out)["stages"]
    assert len(pretrain["leaves"]) == len(pretrain["examples"]) == 31
    for stage in (pretrain, chat):
        assert sum(leaf["share_of_clips"] for leaf in stage["leaves"]) == pytest.approx(1)
        assert all(example["pieces"] and example["num_tokens"] for example in stage["examples"])
        assert all(example["is_imagined"] for example in stage["examples"])


def test_ctrl_c_leaves_with_130_and_says_how_to_go_on(monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt("stopped at step 3 of stage 'chat'; resume=auto goes on from there")

    monkeypatch.setattr("audio_lm.run.train.train", stopped)
    assert run("train", "demo", "hardware.devices=1") == 130
    assert "audio-lm: stopped at step 3 of stage 'chat'; resume=auto goes on" in capsys.readouterr().err
