import json

from audio_lm.bench import step
from tests.bench.test_step import TINY
from tests.run.command import run

SMALL = ["--vocabulary", 400, "--clips", 2, "--peer-batch", 2, "--batches", 1, "--rounds", 1]


def test_a_stage_is_measured_and_printed_as_json(capsys, monkeypatch):
    monkeypatch.setattr(step, "SMALL", TINY.model)
    assert run("bench", "step", "--parts", "lora", *SMALL, "--json") == 0
    output = capsys.readouterr()
    figures = json.loads(output.out)
    assert figures["stage"] == "lora"
    assert figures["num_ids"] == 400
    assert "clips: 2 a step" in output.err


def test_a_model_of_conf_is_measured_with_random_weights(capsys):
    assert run("bench", "step", "--model", "tiny", "--parts", "llm", *SMALL) == 0
    output = capsys.readouterr().out
    assert "stage llm, vocabulary 400" in output
    assert "audio-s/s" in output


def test_an_unknown_stage_is_a_user_error(capsys):
    assert run("bench", "step", "--parts", "decoder") == 2
    assert "decoder" in capsys.readouterr().err
