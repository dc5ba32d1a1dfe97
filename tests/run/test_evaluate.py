import json
import shutil

import pytest

from audio_lm.common.errors import UserError
from audio_lm.config.load import load_recipe
from audio_lm.evaluation.predict import read_predictions
from audio_lm.run.evaluate import evaluate
from audio_lm.run.folder import RunFolder
from audio_lm.run.scores import report, rescore, table_rows, with_kept_benchmarks


@pytest.fixture
def copy(whole_run, tmp_path):
    shutil.copytree(whole_run.path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy")


def test_every_clip_of_a_benchmark_has_an_answer(whole_run):
    predictions = read_predictions(whole_run.predictions / "events.jsonl")
    assert len(predictions) == 4
    assert len({prediction.id for prediction in predictions}) == 4
    assert all(prediction.task == "sec" and prediction.reference for prediction in predictions)


def test_the_table_has_our_untrained_and_published_scores(whole_run):
    recipe = load_recipe(whole_run.recipe).recipe
    rows = table_rows(recipe, json.loads(whole_run.scores.read_text()))
    by_name = {row.benchmark: row for row in rows}
    assert by_name["events"].expected == 0.9
    assert by_name["events"].untrained is not None
    assert by_name["dialogues"].expected is None


def test_kept_answers_are_scored_again_without_a_model(copy, console):
    before = copy.scores.read_text()
    copy.scores.unlink()
    shutil.rmtree(copy.path / "stages")
    rescore(copy.path, console)
    assert copy.scores.read_text() == before
    assert "published" in console.export_text()


def test_evaluating_again_gives_the_same_answers(copy, console, monkeypatch):
    before = (copy.predictions / "dialogues.jsonl").read_text()
    shutil.rmtree(copy.predictions)
    evaluate(copy.path, console)
    assert (copy.predictions / "dialogues.jsonl").read_text() == before


def test_a_folder_without_a_run_is_refused(tmp_path, console):
    for command in (report, rescore, evaluate):
        with pytest.raises(UserError, match="holds no run"):
            command(tmp_path, console)


def test_the_report_shows_benchmarks_as_they_were_evaluated(copy, small_recipe, console):
    recipe = load_recipe(
        small_recipe, ["evaluation.benchmarks.events.source=c/d-test", "+published.events.acc=0.3"]
    ).recipe
    shown = with_kept_benchmarks(recipe, copy)
    assert shown.evaluation.benchmarks["events"].source == "synthetic/events-test"
    assert shown.published["events"]["acc"] == 0.3
