import pytest

from audio_lm.common.chat_endpoint import KEY_VARIABLE
from tests.cli.command import run


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # restored afterwards; the command sets it


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--name", "mine"], "--name mine has no effect on a page"),
        (["--api", "--max-upload", "1"], "--max-upload is an option of the page"),
        (["--api"], r"config.json cannot be read"),
        (["--api", "--host", "0.0.0.0"], f"export {KEY_VARIABLE}"),
    ],
)
def test_a_mistake_of_an_endpoint_is_one_sentence(arguments, words, tmp_path, capfd):
    assert run("serve", tmp_path, *arguments) == 2
    output = capfd.readouterr()
    assert output.out == ""
    (line,) = (line for line in output.err.splitlines() if line.startswith("audio-lm:"))
    assert words in line
    assert line.count(" -- ") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 -- expected a password"),
        (["--long-audio", "drop"], "--long-audio drop -- expected error, truncate, chunk"),
        (["--max-upload", "0"], "limit upload_mib 0.0 -- expected a positive number"),
        (["--temperature", "-1"], "temperature -1.0 -- expected 0"),
        (["--password-file", "gone.txt"], "--password-file gone.txt cannot be read"),
        (["--certificate", "gone.pem"], "gone.pem is missing -- expected a PEM file"),
    ],
)
def test_a_mistake_of_a_page_is_one_sentence(arguments, words, capfd, monkeypatch, tmp_path):
    monkeypatch.delenv("AUDIO_LM_PASSWORD", raising=False)
    assert run("serve", tmp_path, "--port", 0, *arguments) == 2
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("audio-lm:"))
    assert words in line
