import io
import json
from pathlib import Path

import pytest

from audio_lm.data.manifest.cuts import read_cuts
from tests.chat_server import ChatServer
from tests.cli.command import run


@pytest.fixture(scope="module")
def clip(small):
    """Path of a synthesized clip."""
    (cut, *_) = read_cuts(Path(small.data_dir), "synthetic/events-test")
    return cut.recording.sources[0].source


def script(monkeypatch, *lines):
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_a_script_gets_one_answer_for_each_message(whole_run, clip, monkeypatch, capfd):
    script(monkeypatch, "What is it?", f"/audio {clip}", "And this?")
    assert (
        run("chat", whole_run.path, "--audio", clip, "--max-new-tokens", 4, "--seed", 1, "--temperature", 1.0)
        == 0
    )
    first = capfd.readouterr()
    assert first.out.count("\n") >= 2
    assert "Audio 1: " in first.err
    assert "Audio 2: " in first.err
    script(monkeypatch, "What is it?", f"/audio {clip}", "And this?")
    assert (
        run("chat", whole_run.path, "--audio", clip, "--max-new-tokens", 4, "--seed", 1, "--temperature", 1.0)
        == 0
    )
    assert capfd.readouterr().out == first.out


def test_an_endpoint_answers_instead_of_a_model(clip, monkeypatch, capfd):
    pytest.importorskip("openai")
    with ChatServer("it is a beep") as server:
        script(monkeypatch, "What is it?")
        assert run("chat", "--endpoint", server.url, "--audio", clip) == 0
    assert capfd.readouterr().out == "it is a beep\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "neither MODEL nor --endpoint is given"),
        (["RUN", "--endpoint", "http://127.0.0.1:1/v1"], "both MODEL and --endpoint are given"),
        (["RUN", "--long-audio", "chunks"], "Did you mean 'chunk'"),
        (["RUN", "--stage", "pretrain"], "trained with prompt tags -- expected chatml"),
        (["RUN", "--top-p", "2"], "top_p 2.0 -- expected more than 0"),
        (["RUN", "--audio", "none.wav"], "none.wav is missing"),
    ],
)
def test_a_mistake_is_one_sentence(whole_run, arguments, words, monkeypatch, capfd):
    script(monkeypatch, "one")
    assert run("chat", *(str(whole_run.path) if word == "RUN" else word for word in arguments)) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert words in line


def test_the_last_turn_is_measured(whole_run, capfd):
    arguments = ("--seconds", 0.5, "--max-new-tokens", 2, "--rounds", 1, "--json")
    assert run("bench", "chat", whole_run.path, *arguments) == 0
    figures = json.loads(capfd.readouterr().out)
    assert figures["num_different"] == 0
    assert figures["num_compared"] > 0
