import json
import shutil

import pytest
from mlflow import MlflowClient

from audio_lm.common.chat_endpoint import KEY_VARIABLE, EndpointConfig
from audio_lm.common.errors import UserError
from audio_lm.run.judge import JudgeOptions, judge
from tests.chat_server import ChatServer, Fault
from tests.run.command import run

pytest.importorskip("openai")
ROW = {"id": "0", "question": "What?", "reference": "A dog.", "answer": "A cat."}


@pytest.fixture(autouse=True)
def _no_key_of_this_machine(monkeypatch):
    for name in (KEY_VARIABLE, "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    with ChatServer("8 6") as running:
        yield running


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "answers.jsonl"
    rows = [ROW | {"id": str(number), "question": f"What is {number}?"} for number in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_answers_of_a_run_are_judged_and_reported(whole_run, tmp_path, server, capsys):
    folder = tmp_path / "run"
    shutil.copytree(whole_run.path, folder)
    assert run("judge", folder, "--endpoint", server.url) == 0
    output = capsys.readouterr().out
    assert "judge of dialogues: 7.00 of 10 (95 % 7.00 to 7.00), reference 7.00" in output
    assert "judge tiny, second place -2.00" in output
    record = json.loads((folder / "judge" / "dialogues.json").read_text())
    assert record["judge"] == "tiny"
    assert record["endpoint"] == server.url
    assert "helpful and precise assistant" in record["prompts"]["open"]
    assert len((folder / "judge" / "dialogues.jsonl").read_text().splitlines()) == 8
    assert json.loads((folder / "scores.json").read_text())["dialogues/judge_score"] == 7
    assert run("score", folder) == 0
    assert "judge of dialogues: 7.00 of 10" in capsys.readouterr().out
    assert json.loads((folder / "scores.json").read_text())["dialogues/judge_score"] == 7


def test_a_second_start_sends_only_what_is_missing(file, server, capsys):
    command = ("judge", file, "--endpoint", server.url, "--judge", "tiny", "--parallel", 1)
    calls = []

    def answer(body):
        calls.append(body)
        if len(calls) == 9:
            server.faults += [Fault(400)]
        return "8 6"

    server.answer = answer
    assert run(*command) == 2
    error = capsys.readouterr().err
    assert "HTTP 400" in error
    assert "at least 9 of 24 replies are kept in" in error
    assert "Traceback" not in error
    server.answer = "8 6"
    assert run(*command) == 0
    assert len(server.requests) == 24 + 1
    assert (file.parent / "answers-judge" / "answers.json").is_file()


def test_a_judge_that_is_silent_is_one_sentence(file, server):
    server.faults += [Fault(seconds=0.6)] * 2
    endpoint = EndpointConfig(server.url, model="tiny", timeout=0.3, num_retries=0)
    with pytest.raises(UserError) as error:
        judge(file, JudgeOptions(endpoint=endpoint, num_parallel=1))
    assert "was silent for 0.3 s -- expected an answer by then" in str(error.value)
    assert "at least 0 of 24 replies are kept" in str(error.value)


def test_a_judge_that_answers_nonsense_is_one_sentence(file, server, capsys):
    server.answer = "Both answers are good."
    assert run("judge", file, "--endpoint", server.url) == 2
    assert "gave no two scores in 10 replies, such as 'Both answers are good.'" in capsys.readouterr().err


def test_requests_are_exported_and_scores_imported_without_a_judge(file, tmp_path, capsys):
    exported, imported = tmp_path / "requests.jsonl", tmp_path / "replies.jsonl"
    assert run("judge", file, "--export", exported, "--judge", "gpt") == 0
    requests = [json.loads(line) for line in exported.read_text().splitlines()]
    assert len(requests) == 24
    rows = [{"custom_id": each["custom_id"], "scores": [9, 4]} for each in requests]
    imported.write_text("".join(json.dumps(row) + "\n" for row in rows[:-2]))
    assert run("judge", file, "--import", imported, "--judge", "gpt", "--out", tmp_path / "out") == 0
    output = capsys.readouterr().out
    assert "judge of answers: 6.50 of 10" in output
    assert "11 of 12 questions in both orders" in output
    assert (tmp_path / "out" / "answers.json").is_file()


def test_the_scores_of_a_judge_are_a_row_with_an_interval_and_in_the_run_of_mlflow(
    whole_run, small_recipe, tmp_path, server, capsys
):
    folder = tmp_path / "run"
    shutil.copytree(whole_run.path, folder)
    change = "evaluation.benchmarks.dialogues.metrics=[judge_score,acc]"
    assert run("evaluate", folder, change) == 0
    assert run("report", folder) == 0
    assert "missing: dialogues judge_score, a judge gives it" in capsys.readouterr().out
    server.answer = "6 8"  # scores of the first place and the second
    assert run("judge", folder, "--endpoint", server.url) == 0
    assert run("report", folder) == 0
    printed = capsys.readouterr().out
    (row,) = [line for line in printed.splitlines() if "judge, of 10" in line]
    assert "7.000  7.000 to 7.000" in row
    values = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        values |= json.loads(line)["values"]
    assert values["dialogues/judge_score"] == 7
    assert {"dialogues/judge_reference", "dialogues/judge_wins"} <= values.keys()
    events = [json.loads(line) for line in (folder / "tracking.jsonl").read_text().splitlines()]
    assert "judge/dialogues.json" in [event["path"] for event in events if event["kind"] == "artifact"]
    sent = json.loads((folder / "tracking.sent").read_text())
    client = MlflowClient(f"sqlite:///{small_recipe.parent / 'mlflow.db'}")
    assert client.get_run(sent["runs"]["recipe"]["run_id"]).data.metrics["dialogues/judge_score"] == 7
    # Verdicts on other answers would be wrong; equal answers keep theirs.
    assert run("evaluate", folder, change, "--again") == 0
    assert (folder / "judge" / "dialogues.json").is_file()
    answers = folder / "predictions" / "dialogues.jsonl"
    answers.write_text(answers.read_text().replace('"answer": "', '"answer": "earlier '))
    assert run("evaluate", folder, change, "--again") == 0
    assert not (folder / "judge" / "dialogues.json").exists()
    assert "dialogues/judge_score" not in json.loads((folder / "scores.json").read_text())
