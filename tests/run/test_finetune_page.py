"""The commands of ``docs/finetune.md``, typed as they stand, with a small base model and two steps."""

import contextlib
import io
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.run.command import run

PAGE = (Path(__file__).parents[2] / "docs" / "finetune.md").read_text()
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
RUN, SPEAKERS = "runs/demo-6e044984", ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TINY = ("stages.finetune.steps=2", "stages.finetune.validate_every=2", "tracking.uri=sqlite:///mlflow.db")


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """Working folder with clips of six speakers and their table, as on the page."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    rows = ["file_name,text,speaker"]
    for number, speaker in enumerate(SPEAKERS * 2):
        name = f"{number}_{speaker}_0.wav" if (number, speaker) != (4, "theo") else "7_theo_5.wav"
        wave = np.random.default_rng(number).normal(0, 0.1, 4_000)
        soundfile.write(tmp_path / "clips" / name, wave.clip(-1, 1), 8_000)
        rows.append(f"{name},seven,{speaker}")
    (tmp_path / "clips" / "metadata.csv").write_text("\n".join(rows))
    return tmp_path


def printed_by(command):
    """Output of a command of the page."""
    program, *arguments = shlex.split(command)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        if program == "audio-lm":
            assert run(*arguments, *(TINY if arguments[0] == "train" else ())) == 0, command
        elif program == "python":
            run_script(arguments)
        else:
            assert program == "ls", command
    return output.getvalue()


def run_script(arguments):
    """Run a script in this process: a new one would import transformers again."""
    before, sys.argv = sys.argv, arguments
    try:
        runpy.run_path(arguments[0], run_name="__main__")
    finally:
        sys.argv = before


@pytest.mark.slow
def test_every_command_and_snippet_of_the_page_works_in_order(clips, whole_run):
    (clips / "runs").mkdir()
    (clips / RUN).symlink_to(whole_run.path)
    output = {}
    for kind, content in FENCE.findall(PAGE):
        if kind == "console":
            for line in content.splitlines():
                if line.startswith("$ "):
                    output[line[2:]] = printed_by(line[2:])
        elif kind == "python" and "peft" in content:
            pytest.importorskip("peft")
            exec(compile(content, "finetune.md", "exec"), {})
        elif kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as snippet:
                exec(compile(content, "finetune.md", "exec"), {})
    verbs = [command.split()[1] for command in output if command.startswith("audio-lm")]
    assert verbs == ["import", "export", "train", "ask", "evaluate", "export", "evaluate", "export"]
    scores = next(text for command, text in output.items() if command.startswith("audio-lm train"))
    assert re.search(r"stage +benchmark +task +metric +clips +base +ours +95 %", scores), "as on the page"
    answer = next(text for command, text in output.items() if command.startswith("python"))
    assert snippet.getvalue().strip() == answer.strip()
    assert {path.name for path in (clips / "adapter").iterdir()} >= {"adapter_config.json"}
