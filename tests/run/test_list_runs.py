import json
import math
import os

import pytest

from audio_lm.common.errors import UserError
from audio_lm.fault_tolerance.exit_status import ExitReason, write_exit_reason
from audio_lm.run.list_runs import best_scores, print_runs, runs_in
from tests.run.recorded_runs import record_run


@pytest.fixture
def runs(small_recipe, tmp_path):
    """A folder with three runs, the newest last, and one damaged."""
    folder = tmp_path / "runs"
    paths = [
        record_run(small_recipe, folder / "good", 30),
        record_run(small_recipe, folder / "bad", 10, "stages.pretrain.mixture.weights.mna=3"),
        record_run(small_recipe, folder / "new", None),
    ]
    write_exit_reason(paths[0], ExitReason("finished", "done"))
    (folder / "damaged").mkdir()
    (folder / "damaged" / "recipe.yaml").write_text("stages: [")
    for age, path in enumerate([folder / "damaged", *reversed(paths)]):
        os.utime(path / "recipe.yaml", (1e9 - age, 1e9 - age))
    return folder


def test_runs_are_listed_newest_first_with_state_scores_and_mixture(runs):
    damaged, new, bad, good = runs_in(runs)
    assert damaged.state == "unreadable"
    assert "recipe.yaml" in damaged.progress
    assert (new.state, new.scores) == ("not started", {})
    assert good.state == "finished"
    assert good.scores == {"events/acc": 0.75}, "baselines are no scores of the run"
    assert good.mixtures["pretrain"] == {"sec": 0.5, "mna": 0.5}
    assert bad.mixtures == {"pretrain": {"sec": 0.25, "mna": 0.75}, "chat": {"chat": 1.0}}


def test_the_best_score_is_marked_and_sorted_by(runs, console):
    print_runs(runs, by="events/acc", console=console)
    text = console.export_text()
    assert "events/acc 0.750*" in text
    assert "events/acc 0.250 " in text
    assert text.index("0.750") < text.index("0.250") < text.index("runs/new")
    assert "sec 25%, mna 75%" in text


def test_the_best_error_rate_is_the_lowest(runs):
    listed = runs_in(runs)
    for run, rate in zip(listed, (0.4, 0.2, math.inf), strict=False):
        run.scores["digits/wer"] = rate
    assert best_scores(listed) == {"events/acc": 0.75, "digits/wer": 0.2}


def test_runs_as_json(runs, console):
    print_runs(runs, as_json=True, console=console)
    found = {os.path.basename(run["path"]): run for run in json.loads(console.export_text())}
    assert found["good"]["best"] == ["events/acc"]
    assert found["bad"]["best"] == []


def test_the_folder_of_a_single_run_is_listed(runs):
    (run,) = runs_in(runs / "good")
    assert run.path.endswith("good")


def test_folders_without_runs_and_unknown_scores_are_refused(runs, tmp_path, console):
    with pytest.raises(UserError, match="holds no runs -- expected"):
        runs_in(tmp_path)
    with pytest.raises(UserError, match="is no folder -- expected"):
        runs_in(tmp_path / "nothing")
    with pytest.raises(UserError, match="Did you mean 'events/acc'"):
        print_runs(runs, by="event/acc", console=console)
