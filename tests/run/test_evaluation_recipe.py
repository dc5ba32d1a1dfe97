import json
import shutil
from pathlib import Path

import pytest
import yaml

from audio_lm.common.errors import CheckpointError, DataError, RecipeError
from audio_lm.config.load import load_recipe
from audio_lm.evaluation.predict import read_predictions
from audio_lm.run.evaluate import evaluate
from audio_lm.run.evaluation_recipe import recipe_to_evaluate
from audio_lm.run.folder import RunFolder
from audio_lm.run.scores import report, rescore
from tests.run.command import run

NOTES = "{source: synthetic/notes-test, task: mna, metrics: [pitch_acc], prompt: tags, stage: pretrain, max_new_tokens: 2}"
ADDED = f"evaluation.benchmarks.notes={NOTES}"


@pytest.fixture
def copy(whole_run, tmp_path):
    shutil.copytree(whole_run.path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy")


def files(folder):
    return {
        str(path.relative_to(folder.path)): path.read_bytes()
        for path in sorted(folder.path.rglob("*"))
        if path.is_file()
    }


def chosen(folder, *overrides, benchmarks=()):
    return recipe_to_evaluate(folder, overrides, benchmarks)[1]


def test_an_added_benchmark_is_answered_scored_and_shown_and_nothing_else_changes(copy, console):
    before = files(copy)
    evaluate(copy.path, console, overrides=[ADDED, "published.notes={pitch_acc: 0.7}"])
    after = files(copy)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {"predictions/notes.jsonl", "predictions/benchmarks.json", "scores.json"}
    scores = json.loads(before["scores.json"])
    assert set(json.loads(after["scores.json"])) - set(scores) == {"notes/pitch_acc"}
    assert len(read_predictions(copy.predictions / "notes.jsonl")) == 4
    for command in (report, rescore):
        shown = type(console)(record=True, width=160, file=open("/dev/null", "w"))  # noqa: SIM115
        command(copy.path, shown)
        text = shown.export_text()
        assert "notes" in text
        assert "0.700" in text or "70.0" in text
        assert "dialogues" in text
    assert json.loads(copy.scores.read_text()) == json.loads(after["scores.json"])


def test_an_added_benchmark_can_be_named_later(copy, console):
    evaluate(copy.path, console, overrides=[ADDED])
    answers = (copy.predictions / "notes.jsonl").read_text()
    (copy.predictions / "notes.jsonl").unlink()
    evaluate(copy.path, console, benchmarks=["notes"])
    assert (copy.predictions / "notes.jsonl").read_text() == answers
    assert chosen(copy) == ["events", "dialogues"], "the run's own, unless named"


def test_only_named_benchmarks_are_evaluated(copy, console):
    shutil.rmtree(copy.predictions)
    evaluate(copy.path, console, benchmarks=["events"])
    assert {path.name for path in copy.predictions.glob("*.jsonl")} == {"events.jsonl"}
    assert chosen(copy, benchmarks=["events,dialogues"]) == ["events", "dialogues"]
    assert chosen(copy, benchmarks=["dialogues", "events , dialogues"]) == ["dialogues", "events"]


def test_benchmarks_are_chosen_by_what_the_command_names(copy):
    assert chosen(copy, ADDED) == ["notes"]
    assert chosen(copy, f"+{ADDED}") == ["notes"]
    assert chosen(copy, "evaluation.benchmarks.events.max_clips=1") == ["events"]
    assert chosen(copy, f"evaluation.benchmarks={{a/b.c: {NOTES}}}") == ["a/b.c"]
    assert chosen(
        copy,
        "evaluation.benchmarks.events={_replace_: true, source: c/d-test, task: sec, metrics: [acc], "
        "prompt: tags, stage: chat}",
    ) == ["events"]
    assert chosen(copy, ADDED, benchmarks=["events"]) == ["events"]
    assert chosen(copy, "use.benchmarks=spoken_digits") == ["single", "strings", "strings_stamps"]
    assert chosen(copy, "use.benchmarks=spoken_digits", benchmarks=["single"]) == ["single"]
    assert chosen(copy, "hardware.num_threads=1") == ["events", "dialogues"]


@pytest.mark.parametrize(
    "override",
    ["seed=1", "stages.chat.steps=9", "model.encoder.dropout=0.5", "use.model=demo", "use.scale=tiny",
     "corpora.synthetic.seed=5", "~stages.chat", "+stages.more={}", "nonsense=1", "corpora={}"],
)  # fmt: skip
def test_a_key_that_decides_is_refused_by_name(copy, override):
    key = override.lstrip("+~").partition("=")[0]
    with pytest.raises(RecipeError, match=rf"`{key}` decides the result of this run") as caught:
        chosen(copy, override)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "override", ["resume=auto", "only=[chat]", "stages.chat.checkpoint_every=2", "tracking.uri=x", "name=a"]
)
def test_a_key_that_an_evaluation_does_not_read_is_refused_by_name(copy, override):
    with pytest.raises(RecipeError, match=rf"`{override.partition('=')[0]}` is not read by an evaluation"):
        chosen(copy, override)


@pytest.mark.parametrize(
    ("overrides", "benchmarks", "error", "words"),
    [
        ([], ["evnts"], RecipeError, "unknown benchmark or suite 'evnts'. Did you mean 'events'"),
        ([], [""], RecipeError, "unknown benchmark or suite ''. Known: airbench, airbench_chat, demo, dialogues, events"),
        (["use.benchmarks=spoken_digit"], [], RecipeError, "Did you mean 'spoken_digits'"),
        (["use.benchmarks=spoken_digits"], ["single"], DataError, "benchmark 'single'.*fsdd"),
        (["evaluation.benchmarks.x={task: asr}"], [], RecipeError, r"`evaluation.benchmarks.x.\w+` - is missing"),
        ([ADDED.replace("pitch_acc", "pich_acc")], [], RecipeError, "pich_acc"),
        ([ADDED.replace("stage: pretrain", "stage: sft")], [], RecipeError, "unknown stage 'sft'"),
        ([ADDED.replace("notes-test", "nothing-test")], [], DataError, "benchmark 'notes'.*nothing-test"),
        (["~evaluation.benchmarks.events"], [], RecipeError, "'events' of this run is removed.*--benchmarks"),
        ([f"evaluation.benchmarks={{_replace_: true, notes: {NOTES}}}"], [], RecipeError, "'events' of this run is removed"),
        ([ADDED.replace("benchmarks.notes", "benchmarks.untrained")], [], RecipeError, "name of a baseline"),
        (["evaluation"], [], RecipeError, "not key=value"),
    ],
)  # fmt: skip
def test_an_invalid_evaluation_is_refused_before_anything_is_written(
    copy, console, overrides, benchmarks, error, words
):
    before = files(copy)
    with pytest.raises(error, match=words):
        evaluate(copy.path, console, overrides=overrides, benchmarks=benchmarks)
    assert files(copy) == before


def test_the_stage_of_a_named_benchmark_has_to_be_trained(copy, console):
    shutil.rmtree(copy.model("chat"))
    before = files(copy)
    with pytest.raises(CheckpointError, match=r"stages/chat/model"):
        evaluate(copy.path, console, benchmarks=["events", "dialogues"])
    assert files(copy) == before
    evaluate(copy.path, console)  # the stages that are there


def test_tags_that_the_run_has_no_tokens_for_are_refused(copy, console):
    tokens = json.loads(copy.tokens.read_text())
    copy.tokens.write_text(
        json.dumps({"tokens": [token for token in tokens["tokens"] if "event" not in token]})
    )
    with pytest.raises(RecipeError, match=r"benchmark 'events'.*<\|event\|>"):
        evaluate(copy.path, console, benchmarks=["events"])


def test_a_corpus_of_benchmarks_alone_may_be_prepared(copy, monkeypatch):
    recipe, _, _ = recipe_to_evaluate(copy, ["corpora.fsdd={seed: 3}"], ())
    assert recipe.corpora["fsdd"] == {"seed": 3}


def test_only_the_command_line_may_set_any_data_dir(copy, tmp_path, monkeypatch):
    elsewhere = tmp_path / "else" / "where"
    monkeypatch.chdir(copy.path)
    assert recipe_to_evaluate(copy, [f"data_dir={elsewhere}"], ())[0].data_dir == str(elsewhere)
    recipe = yaml.safe_load(copy.recipe.read_text())
    copy.recipe.write_text(yaml.safe_dump(recipe | {"data_dir": str(elsewhere)}))
    with pytest.raises(RecipeError, match=r"`data_dir` is .*expected a folder below"):
        recipe_to_evaluate(copy, [ADDED], ())
    assert recipe_to_evaluate(copy, [ADDED, f"data_dir={Path('mine')}"], ())[0].data_dir == "mine"


def test_the_recipe_of_the_run_stays_unchanged(copy):
    before = load_recipe(copy.recipe, is_complete=True)
    recipe_to_evaluate(copy, [ADDED, "use.benchmarks=spoken_digits", "use.hardware=cpu"], ())
    assert load_recipe(copy.recipe, is_complete=True) == before


def test_the_command_takes_overrides_and_names(copy, capsys):
    assert run("evaluate", copy.path, ADDED, "--benchmarks", "notes,events", "--benchmarks=dialogues") == 0
    output = capsys.readouterr()
    assert "pretrain: evaluating notes, events" in output.out + output.err
    before = files(copy)
    assert run("evaluate", copy.path, "--benchmarks", "evnts") == 2
    assert run("evaluate", copy.path, "seed=1") == 2
    messages = capsys.readouterr().err.splitlines()
    assert len(messages) == 2
    assert "Did you mean 'events'" in messages[0]
    assert "`seed` decides the result of this run" in messages[1]
    assert files(copy) == before
