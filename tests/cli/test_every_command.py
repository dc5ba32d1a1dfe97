"""All commands: their help teaches by examples that parse, and an option of one name is the same everywhere."""

import re
import shlex
from contextlib import suppress

import pytest
import typer

from audio_lm.cli.main import app

ROOT_COMMAND = typer.main.get_command(app)
EXAMPLE = re.compile(r"`((?:[A-Z_]+=\S+ )?audio-lm [^`]+)`")

SHARED = {
    "--data-dir": "Folder",
    "--dry-run": "",
    "--endpoint": "endpoint",
    "--json": "JSON",
    "--max-clips": "first clips",
    "--max-new-tokens": "Maximum length of an answer",
    "--num": "Number of",
    "--out": "",
    "--overwrite": "Replace",
    "--seed": "Seed of",
    "--stage": "tage",
    "--trust-code": "Python code",
    "--watch": "Refresh",
}
"""Option -> a part of its help in every command."""

OTHER_SPELLINGS = {
    "--amount", "--count", "--debug", "--force", "--format", "--limit", "--max-tokens", "--max-length", "--n", "--new-tokens",
    "--number", "--output", "--output-dir", "--preview", "--quiet", "--random-seed", "--trust-remote-code", "--url",
}  # fmt: skip
"""Names that a shared option, or a key of recipes, has elsewhere."""

WRITING = (
    "demo",
    "new",
    "train",
    "prepare",
    "import",
    "synthesize",
    "edit",
    "export",
    "submit",
    "sweep run",
    "sweep submit",
)
"""Commands that write what a person keeps."""


def commands(command=ROOT_COMMAND, path=()):
    """Name and command of every command that does something."""
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, inner in command.commands.items():
        yield from commands(inner, (*path, name))


EVERY = dict(commands())


def options(command):
    return [parameter for parameter in command.params if parameter.param_type_name == "option"]


def parse(words):
    command, rest = ROOT_COMMAND, words[1:]
    while hasattr(command, "commands"):
        if rest[0] not in command.commands:
            rest = ["run", *rest]  # `audio-lm sweep FILE`
        command, rest = command.commands[rest[0]], rest[1:]
    with suppress(typer.Exit):
        command.make_context("audio-lm", rest)
    return command


@pytest.mark.parametrize("name", EVERY)
def test_help_has_examples_that_the_command_accepts(name):
    command = EVERY[name]
    text = " ".join((command.help or "").split())
    examples = EXAMPLE.findall(text.partition("Example")[2])
    assert "Example" in text, "the help has no examples"
    assert any(
        parse(shlex.split(example)[shlex.split(example).index("audio-lm") :]) is command
        for example in examples
    )
    for example in examples:
        words = shlex.split(example)
        words = words[words.index("audio-lm") :]
        parse(words[: words.index("|")] if "|" in words else words)


@pytest.mark.parametrize("name", EVERY)
def test_an_option_is_spelled_and_explained_as_in_other_commands(name):
    for option in options(EVERY[name]):
        for spelling in option.opts:
            assert option.help, f"{spelling} has no help"
            assert spelling not in OTHER_SPELLINGS, f"{spelling} has another name in other commands"
            assert SHARED.get(spelling, "") in option.help, f"{spelling}: {option.help}"
        assert not option.secondary_opts or option.default is True, f"{option.secondary_opts} has no effect"


def test_commands_that_write_can_say_first_what_they_would_write():
    lacking = [name for name in WRITING if not any("--dry-run" in one.opts for one in options(EVERY[name]))]
    assert not lacking


def test_the_names_of_recipes_runs_corpora_and_formats_are_completed():
    for name, command in EVERY.items():
        for parameter in command.params:
            if (
                parameter.name in ("recipe", "corpus", "format_name", "overrides", "runs")
                and name != "evaluate"
            ):
                assert parameter._custom_shell_complete is not None, f"{name} {parameter.name}"
