import json

from audio_lm.bench import step
from audio_lm.bench.gpu import run as gpu
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


def test_without_a_gpu_one_sentence_states_it_and_the_exit_code_is_0(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu, "WITHOUT_GPU", 0.0)  # the tests that it runs are those of this suite
    assert run("bench", "gpu", "--out", tmp_path) == 0
    output = capsys.readouterr().out
    assert output.count("there is no CUDA device here") == 1
    assert (tmp_path / "gpu.json").is_file()


def test_a_part_that_fails_gives_exit_code_1(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu.Results, "has_failures", True)
    monkeypatch.setattr(gpu, "WITHOUT_GPU", 0.0)
    assert run("bench", "gpu", "--out", tmp_path) == 1
