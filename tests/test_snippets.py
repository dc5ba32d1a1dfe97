"""Python snippets and cheap commands of the pages run.

The trainers of docs/python.md run in tests/run/test_api.py, docs/finetune.md in order in tests/run/test_finetune_page.py.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.chat_server import ChatServer
from tests.run.command import run
from tests.test_readme import PAGE_OF_COMMAND, ROOT, blocks

CLIPS = ("clip.wav", "clip.flac", "jfk.flac", "a.wav")
PLANNED = ("qwen_audio", "qwen2_audio")  # `plan` has published sizes and needs no audio
OF_OTHER_TESTS = ("docs/python.md", "docs/finetune.md")
SNIPPETS = [*blocks("py"), *((page, text) for page, text in blocks("python") if page not in OF_OTHER_TESTS)]
# The small run has other tasks and clips than the demo, whose name the pages use.
OF_SMALL_RUN = {"sgc": "sec", "synthetic/digits-test": "synthetic/events-test"}


def is_cheap(words):
    """True for commands that take seconds and need neither data nor a run."""
    program, command, *rest = (*words, "")
    if program != "audio-lm" or command == "sweep":  # a sweep checks its trials with their corpora
        return False
    is_plan = command == "plan" and rest[0] in PLANNED and "--measure" not in rest
    return is_plan or command == "describe" or {"--list", "--help", "--dry-run"} & {command, *rest}


CHEAP = [words[1:] for words in PAGE_OF_COMMAND if is_cheap(words)]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Working folder with the clips that the snippets name."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(CLIPS, start=1):
        tone = np.sin(np.arange(16_000) * 0.02 * number).astype(np.float32)
        soundfile.write(tmp_path / name, 0.3 * tone, 16_000)
    for name in ("ratios.csv", "metrics.csv"):
        shutil.copy(ROOT / "notebooks" / "mixture_sweep" / name, tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(("page", "content"), SNIPPETS)
def test_a_snippet_runs(page, content, desk, whole_run):
    (desk / "runs").mkdir()
    (desk / "runs" / "demo-6e044984").symlink_to(whole_run.path)
    for shown, small in OF_SMALL_RUN.items():
        content = content.replace(shown, small)
    with ChatServer("a beep") as server:
        for address in ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"):
            content = content.replace(f'"{address}"', f'"{server.url}"')
        names = {}
        exec(compile(content, page, "exec"), names)
        if page == "docs/endpoint.md":
            assert server.requests
    assert names.keys() > {"__builtins__"}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", CHEAP, ids=" ".join)
def test_a_cheap_command_runs(arguments, desk, capsys):
    is_whole = (
        arguments[0] == "describe" and "--where" not in arguments
    )  # it would make the corpora of the recipe
    assert run(*arguments, *(["use.scale=tiny"] if is_whole else [])) == 0
    assert capsys.readouterr().out


def test_cheap_commands_are_found_on_the_pages():
    assert {command for command, *_ in CHEAP} >= {"describe", "plan", "submit", "import", "prepare", "train"}
    assert not is_cheap(("audio-lm", "train", "demo"))
    assert not is_cheap(("mlflow", "ui"))
    assert len(SNIPPETS) >= 5
    assert all((Path(ROOT) / page).is_file() for page, _ in SNIPPETS)
