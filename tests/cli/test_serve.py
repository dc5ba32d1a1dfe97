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
        ([], "expected --api"),
        (["--api"], r"config.json cannot be read"),
        (["--api", "--host", "0.0.0.0"], f"export {KEY_VARIABLE}"),
        (["--api", "--port", "70000"], "expected 0 to 65535"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, words, tmp_path, capfd):
    assert run("serve", tmp_path, *arguments) == 2
    output = capfd.readouterr()
    assert output.out == ""
    (line,) = (line for line in output.err.splitlines() if line.startswith("audio-lm:"))
    assert words in line
    assert line.count(" -- ") == 2
