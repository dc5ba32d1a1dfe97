import csv
import json
import re
import shutil

import pytest

from audio_lm.common.errors import UserError
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.evaluation.definitions import Definition, save_definition
from audio_lm.evaluation.majority import Majority
from audio_lm.evaluation.predict import Prediction, predictions_path, write_predictions
from audio_lm.run.folder import RunFolder
from audio_lm.run.scores import open_results, report, rescore
from tests.cli.command import run

ANSWERS = [
    ("low", "low", "ada"),
    ("low", "high", "ada"),
    ("high", "high", "bob"),
    ("high", "low", "bob"),
    ("low", "low", "bob"),
]


@pytest.fixture
def evaluation(tmp_path):
    """Folder of an evaluation of a model without a recipe."""
    folder = tmp_path / "evaluation"
    predictions = [
        Prediction(str(number), "mood", (reference,), answer, "en", speaker=speaker)
        for number, (reference, answer, speaker) in enumerate(ANSWERS)
    ]
    write_predictions(predictions_path(folder / "predictions", "moods"), predictions)
    benchmark = BenchmarkConfig("mine/all-test", "er", ["acc"], "natural", "model")
    definition = Definition(benchmark, {"acc": 0.9}, 5, Majority("low", "benchmark", 3, 5))
    save_definition(folder / "predictions", "moods", definition)
    return folder


def test_an_evaluation_without_a_recipe_is_scored_and_reported(evaluation, console):
    with pytest.raises(UserError, match="has no scores yet"):
        report(evaluation, console)
    rescore(evaluation, console, details=True)
    assert json.loads((evaluation / "scores.json").read_text()) == {
        "moods/acc": 0.6,
        "majority/moods/acc": 0.6,
    }
    text = console.export_text()
    assert "majority of moods: 'low', 3 of 5 in the benchmark" in text
    (line,) = (line.split() for line in text.splitlines() if line.startswith("model"))
    assert line[-7:-4] == ["5", "0.600", "0.600"], "clips, majority, ours"
    assert line[-4:] == ["0.000", "to", "1.000", "0.900"], "interval, published"
    assert "accuracy of 2 speakers 0.667 (bob) to 0.500 (ada)" in text
    rows = list(csv.reader((evaluation / "predictions" / "moods.confusion.csv").open()))
    assert rows == [["reference", "low", "high", "clips"], ["low", "2", "1", "3"], ["high", "1", "1", "2"]]
    assert (evaluation / "predictions" / "moods.confusion.png").is_file()


def test_details_are_shown_only_where_wanted(evaluation, console):
    rescore(evaluation, console)
    assert "speakers" not in console.export_text()


def test_the_scores_of_an_earlier_release_are_shown_under_their_benchmarks(whole_run, tmp_path, console):
    shutil.copytree(whole_run.path, tmp_path / "copy")
    folder = RunFolder(tmp_path / "copy")
    today = json.loads(folder.scores.read_text())
    earlier = {
        "test/synthetic/events/sec/acc": today["events/acc"],
        "untrained/test/synthetic/events/sec/acc": today["untrained/events/acc"],
        "test/synthetic/dialogues/chat/acc": 0.125,
    }
    folder.scores.write_text(json.dumps(earlier))
    report(folder.path, console)
    text = console.export_text()
    assert "0.125" in text
    assert "events" in text
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert all(path.read_bytes() == content for path, content in before.items()), "reading changes nothing"
    rescore(folder.path, console)
    assert json.loads(folder.scores.read_text()) == today


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        open_results(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: [], r"events\.jsonl holds no predictions; evaluate events again"),
        (lambda lines: [*lines, lines[0]], r"events\.jsonl:\d+: id '.*' is also that of line 1"),
        (
            lambda lines: [lines[0].replace('"references": [', '"references": [], "x": [')],
            r"events\.jsonl:1: no pred",
        ),
        (lambda lines: [*lines[:-1], lines[-1][:30]], r"events\.jsonl:\d+: no prediction"),
    ],
)
def test_spoilt_answers_are_refused_by_file_and_the_scores_stay(whole_run, tmp_path, capsys, spoil, message):
    folder = tmp_path / "run"
    shutil.copytree(whole_run.path, folder)
    answers = folder / "predictions" / "events.jsonl"
    answers.write_text("".join(f"{line}\n" for line in spoil(answers.read_text().splitlines())))
    before = (folder / "scores.json").read_bytes()
    assert run("score", folder) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert (folder / "scores.json").read_bytes() == before


def test_scoring_many_answers_again_shows_its_progress(evaluation, console, monkeypatch, shown_progress):
    monkeypatch.setattr("audio_lm.run.scores.MIN_ANSWERS", 5)
    rescore(evaluation, console)
    parts = ("scoring", "speakers and labels", "intervals")
    assert shown_progress() == [f"{part}  5/5 answers" for part in parts]
