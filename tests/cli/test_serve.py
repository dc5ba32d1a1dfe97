import pytest

from tests.cli.command import run


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
def test_a_mistake_is_one_sentence(arguments, words, capfd, monkeypatch, tmp_path):
    monkeypatch.delenv("AUDIO_LM_PASSWORD", raising=False)
    assert run("serve", tmp_path, "--port", 0, *arguments) == 2
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("audio-lm:"))
    assert words in line
