import json

from audio_lm.bench import step
from tests.bench.test_step import TINY
from tests.run.command import run

SMALL = ["--vocabulary", 400, "--clips", 2, "--peer-batch", 2, "--batches", 1, "--rounds", 1]


def test_a_stage_is_measured_and_printed_for_programs(capsys, monkeypatch):
    monkeypatch.setattr(step, "SMALL", TINY.model)
    assert run("bench", "step", "--stage", "lora", *SMALL, "--json") == 0
    said = capsys.readouterr()
    figures = json.loads(said.out)
    assert figures["stage"] == "lora"
    assert figures["num_ids"] == 400
    assert "clips: 2 a step" in said.err


def test_a_model_of_conf_is_measured_with_random_weights(capsys):
    assert run("bench", "step", "--model", "tiny", "--stage", "llm", *SMALL) == 0
    said = capsys.readouterr().out
    assert "stage llm, vocabulary 400" in said
    assert "audio-s/s" in said


def test_a_stage_there_is_not_is_the_users_mistake(capsys):
    assert run("bench", "step", "--stage", "decoder") == 2
    assert "decoder" in capsys.readouterr().err
