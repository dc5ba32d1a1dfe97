import shutil

import pytest

from audio_lm.common.errors import RecipeError, UserError
from audio_lm.config.load import load_recipe
from audio_lm.evaluation.benchmarks import check_benchmark
from audio_lm.evaluation.config import BenchmarkConfig, EvaluationConfig
from audio_lm.run.folder import RunFolder
from audio_lm.run.suites import (
    leave_out_unusable,
    notes_on_suites,
    published_scores,
    read_suite,
    split_names,
    suite_names,
    suite_of_run,
    with_prompt,
)
from audio_lm.tasks.registry import TASKS


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_can_be_evaluated(name):
    benchmarks = read_suite(name)
    assert benchmarks
    for benchmark in benchmarks:
        check_benchmark(benchmark, EvaluationConfig(benchmarks), TASKS)


def test_the_suite_synthetic_has_controls_everywhere():
    assert all(benchmark.controls == ["silence", "swapped"] for benchmark in read_suite("synthetic").values())


def test_a_suite_has_its_published_scores():
    assert published_scores(["multiple_choice", "synthetic"]) == {
        "mmau_test_mini": {"acc_mmau": 0.492},
        "mmar": {"acc_mmau": 0.3},
    }


def test_another_prompt_has_no_ordered_stamps():
    ordered = BenchmarkConfig(
        source="c/d-test", task="asr", metrics=["wer"], prompt="tags", stage="x", ordered_stamps=True
    )
    assert with_prompt(ordered, "tags") == ordered
    assert not with_prompt(ordered, "natural").ordered_stamps


def test_names_of_benchmarks_come_before_those_of_suites():
    assert split_names(["events,synthetic", "demo"], {"events": 1, "demo": 1}) == (
        ["events", "demo"],
        ["synthetic"],
    )
    with pytest.raises(
        RecipeError, match=r"unknown benchmark or suite 'sythetic'\. Did you mean 'synthetic'"
    ):
        split_names(["sythetic"], {})
    with pytest.raises(RecipeError, match=r"unknown suite '\.\./demo'"):
        read_suite("../demo")


def test_a_stage_without_weights_is_left_out_and_an_unknown_one_replaced(whole_run, tmp_path):
    shutil.copytree(whole_run.path, tmp_path / "copy")
    folder = RunFolder(tmp_path / "copy")
    recipe = load_recipe(folder.recipe, is_complete=True).recipe
    tables, notes = suite_of_run(["synthetic"], recipe, folder, max_clips=3)
    assert notes == []
    assert tables.keys() == read_suite("synthetic").keys()
    assert all(table["max_clips"] == 3 for table in tables.values())
    shutil.rmtree(folder.model("chat"))
    tables, notes = suite_of_run(["synthetic"], recipe, folder)
    chats = [name for name, benchmark in read_suite("synthetic").items() if benchmark.stage == "chat"]
    assert tables.keys() == read_suite("synthetic").keys() - {*chats}
    assert notes == [f"{name}: left out, stage chat of {folder.path} has no weights" for name in chats]
    assert "dialogues" in chats


def test_benchmarks_of_suites_are_left_out_and_named_ones_refused(small):
    def check(recipe):
        (name,) = recipe.evaluation.benchmarks
        if name == "events":
            raise RecipeError("benchmark 'events': no clips")

    names = ["events", "dialogues"]
    assert leave_out_unusable(small, names, names, [check]) == (
        ["dialogues"],
        ["left out: benchmark 'events': no clips"],
    )
    with pytest.raises(RecipeError, match=r"^benchmark 'events': no clips"):
        leave_out_unusable(small, names, ["dialogues"], [check])
    with pytest.raises(
        UserError, match=r"^none of 1 benchmarks can be evaluated: benchmark 'events': no clips"
    ):
        leave_out_unusable(small, ["events"], ["events"], [check])


def test_a_suite_of_the_working_folder_wins_and_a_note_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf" / "benchmarks"
    folder.mkdir(parents=True)
    text = "benchmarks:\n  one: {source: own/all-test, task: asr, metrics: [wer], prompt: natural, stage: chat}\n"
    for name in ("own", "demo"):
        (folder / f"{name}.yaml").write_text(text)
    assert {"own", "demo", "synthetic"} <= set(suite_names())
    assert list(read_suite("own")) == list(read_suite("demo")) == ["one"]
    assert notes_on_suites(["own", "synthetic"]) == []
    assert "./conf/benchmarks/demo.yaml of this folder is used" in notes_on_suites(["demo"])[0]
