import json

import pytest
import soundfile

from audio_lm.chat import grounding
from audio_lm.chat.grounding import Grounding, Span
from audio_lm.common.word_timestamps import parse_units
from audio_lm.run import ask
from tests.cli.command import run


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, [0.1, -0.1] * 8000, 16_000)
    return path


@pytest.fixture
def found(monkeypatch):
    """Commands with a model that reads "one two one"; the tiny models of tests read nothing."""
    units = parse_units("<|0.00|>one<|0.30|>two<|0.60|>one<|0.90|>")

    def ground(model, audio, wanted, *, task, options):
        assert options.channel == "average"
        return Grounding(str(audio), wanted, tuple(units), tuple(grounding.find_words(units, wanted)))

    monkeypatch.setattr(grounding, "ground", ground)
    monkeypatch.setattr(ask, "open_model", lambda *_, **__: None)
    assert list(grounding.find_words(units, "two")) == [Span("two", 0.3, 0.6)]


def test_every_occurrence_is_a_line(found, clip, tmp_path, capfd):
    picture = tmp_path / "new" / "spans.png"
    assert run("ground", "RUN", clip, "one", "--picture", picture) == 0
    assert capfd.readouterr().out == "0.00 0.30 one\n0.60 0.90 one\n"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run("ground", "RUN", clip, "two one", "--json") == 0
    assert json.loads(capfd.readouterr().out)["spans"] == [{"words": "two one", "start": 0.3, "end": 0.9}]
    assert run("ground", "RUN", clip, "four") == 0
    output = capfd.readouterr()
    assert (output.out, output.err) == ("", "'four' was not found; the model reads 'one two one'\n")


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        (["--delete", "--margin", 0], 0.39),
        (["--delete"], 1 - 0.36 - 0.42 - 0.01),
        (["--delete", "--occurrence", 2, "--margin", 0], 0.68),
        (["--bleep"], 1.0),
        (["--replace-with", "CLIP", "--occurrence", 1, "--margin", 0], 1.69),
    ],
)
def test_edited_audio_is_a_new_file(found, clip, tmp_path, options, seconds, capfd):
    out, before = tmp_path / "out.wav", clip.read_bytes()
    given = [clip if option == "CLIP" else option for option in options]
    assert run("edit", "RUN", clip, "one", *given, "--out", out) == 0
    assert soundfile.info(out).duration == pytest.approx(seconds, abs=0.012)
    assert clip.read_bytes() == before
    assert len(capfd.readouterr().out.splitlines()) == (1 if "--occurrence" in options else 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ground", "RUN", "CLIP", "one", "--picture", "a.jpg"], "expected a name that ends in .png"),
        (["ground", "RUN", "CLIP", "one", "--task", "asr"], "expected srwt-en or srwt-zh"),
        (["edit", "RUN", "CLIP", "one", "--out", "new.wav"], "0 edits are given"),
        (["edit", "RUN", "CLIP", "one", "--delete", "--bleep", "--out", "new.wav"], "2 edits are given"),
        (["edit", "RUN", "CLIP", "one", "--delete", "--out", "CLIP"], "no audio is overwritten"),
        (["edit", "RUN", "CLIP", "one", "--delete", "--out", "new.mp3"], "expected a name that ends in .wav"),
        (["edit", "RUN", "CLIP", "four", "--delete", "--out", "new.wav"], "'four' was not found"),
        (
            ["edit", "RUN", "CLIP", "one", "--delete", "--occurrence", "3", "--out", "new.wav"],
            "expected 1 to 2",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(
    found, clip, arguments, words, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    assert run(*(clip if word == "CLIP" else word for word in arguments)) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ["clip.wav"]


def test_a_model_without_time_stamps_is_refused(whole_run, clip, capfd):
    assert run("ground", whole_run.path, clip, "one", "--stage", "pretrain") == 2
    assert "was trained with sec, mna -- expected srwt-en or srwt-zh" in capfd.readouterr().err
