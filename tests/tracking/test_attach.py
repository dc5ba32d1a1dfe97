import json
import shutil

from audio_lm.tracking.attach import attach
from audio_lm.tracking.event_log.journal import ENTRIES, MetricsWriter


def test_a_folder_without_a_run_gets_nothing_and_one_sentence(tmp_path):
    lines = []
    assert not attach(tmp_path, lines.append, what="the report", scores={"a/b": 1.0})
    assert lines == [f"{tmp_path} has no MLflow run; the report is not logged"]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_written_to_gets_nothing(tmp_path, monkeypatch):
    (tmp_path / ENTRIES).write_text("")
    monkeypatch.setattr("audio_lm.tracking.attach.has_writer", lambda folder: True)
    lines = []
    assert not attach(tmp_path, lines.append, what="the judgement", scores={"a/b": 1.0})
    assert lines == [f"{tmp_path} is being trained; the judgement is not logged in MLflow"]
    assert (tmp_path / ENTRIES).read_text() == ""


def test_scores_go_to_the_metrics_of_the_recipe_and_replace_earlier_ones(whole_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole_run.path, folder)
    for value in (6.0, 6.0, 7.0):
        assert attach(folder, lambda line: None, what="the judgement", scores={"talk/judge_score": value})
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = [row["values"]["talk/judge_score"] for row in rows if "talk/judge_score" in row["values"]]
    assert found == [6.0, 7.0], "an equal value is not logged again"
    head = rows[0]["journal"]
    writer = MetricsWriter(folder / "metrics.jsonl", journal_id=head, resume=True)
    assert writer.summaries["talk/judge_score"] == 7.0
