import json
import shutil
from dataclasses import replace

import pytest

from audio_lm.common.errors import UserError
from audio_lm.evaluation.report import Row, Shadow
from audio_lm.run.evaluate import evaluate
from audio_lm.run.folder import RunFolder
from audio_lm.run.report_runs import missing, report_runs
from audio_lm.run.scores import open_results
from tests.cli.command import run


@pytest.fixture
def copies(whole_run, tmp_path):
    """Two copies of a run; the second has answered every event correctly."""
    folders = [RunFolder(tmp_path / name) for name in ("first", "second")]
    for folder in folders:
        shutil.copytree(whole_run.path, folder.path)
        (folder.path / "tracking.jsonl").unlink()
    path = folders[1].predictions / "events.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**line, "answer": line["references"][0]}) + "\n" for line in lines))
    return folders


def test_a_report_prints_and_writes_scores_intervals_and_what_is_missing(copies, console, tmp_path):
    shutil.rmtree(copies[0].model("chat"))
    scores = json.loads(copies[0].scores.read_text())
    copies[0].scores.write_text(
        json.dumps({key: value for key, value in scores.items() if "dialogues" not in key})
    )
    report_runs([copies[0].path], console, out=tmp_path / "report")
    text = console.export_text()
    assert "95 %" in text
    assert "published" in text
    assert "missing: dialogues acc, stage chat has no weights" in text
    assert "has no MLflow run" in text
    markdown = (tmp_path / "report" / "report.md").read_text()
    assert "| events |" in markdown
    assert "dialogues acc, stage chat" in markdown
    assert "events" in (tmp_path / "report" / "report.html").read_text()
    (rows,) = json.loads((tmp_path / "report" / "report.json").read_text())["runs"].values()
    assert rows[0]["expected"] == 0.9
    assert len(rows[0]["interval"]) == 2


def test_a_report_says_what_the_audio_adds_to_a_score(copies, console, tmp_path):
    controlled = (
        "{source: synthetic/events-test, task: sec, metrics: [acc], prompt: tags, stage: pretrain, max_new_tokens: 4, "
        "controls: [silence]}"
    )
    evaluate(copies[0].path, console, overrides=[f"evaluation.benchmarks.controlled={controlled}"])
    report_runs([copies[0].path], console, out=tmp_path / "report")
    assert "controlled: the audio adds" in console.export_text()
    assert "## What the audio adds" in (tmp_path / "report" / "report.md").read_text()


def test_a_difference_to_a_control_without_an_interval_is_named(copies):
    recipe, folder = open_results(copies[0].path)
    row = Row("pretrain", "events", "sec", "acc", 0.5, interval=(0.4, 0.6))
    shadows = {"silence": Shadow(0.1, float("-inf"), 0.5), "swapped": Shadow(0.1, 0.3, 0.5)}
    lines = [*missing(recipe, folder, [replace(row, shadows=shadows)])]
    assert "missing: interval of the difference to silence of events acc, undefined in some draws" in lines


def test_runs_are_compared_on_their_common_clips(copies, console, tmp_path):
    report_runs([folder.path for folder in copies], console, out=tmp_path / "report")
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    verdicts = {(row["benchmark"], row["run"]): row["verdict"] for row in content["comparison"]}
    assert verdicts["events", str(copies[1].path)] == "better"
    assert verdicts["dialogues", str(copies[1].path)] == "noise", "the same answers"
    with pytest.raises(UserError, match="name each once"):
        report_runs([copies[0].path, copies[0].path], console)


def test_the_command_reports_and_refuses_a_folder_without_scores(copies, tmp_path, capsys):
    assert run("report", copies[0].path, copies[1].path, "--out", tmp_path / "report") == 0
    assert "comparison of runs" in capsys.readouterr().out
    assert run("report", tmp_path) == 2


def test_the_report_is_logged_in_the_run_of_mlflow(whole_run, console, tmp_path):
    shutil.copytree(whole_run.path, tmp_path / "copy")
    report_runs([tmp_path / "copy"], console, out=tmp_path / "copy" / "report")
    assert "sent" in console.export_text()
    events = [json.loads(line) for line in (tmp_path / "copy" / "tracking.jsonl").read_text().splitlines()]
    logged = [event["path"] for event in events if event["kind"] == "artifact"]
    assert {"report/report.md", "report/report.html", "report/report.json"} <= set(logged)
