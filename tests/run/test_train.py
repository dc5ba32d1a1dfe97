import json
import os
import signal
import sqlite3

import pytest
import torch
from lightning import Callback
from safetensors.torch import load_file

from audio_lm.common.errors import CheckpointError, DataError, RecipeError, UserError
from audio_lm.config.load import load_recipe
from audio_lm.run import stage as training
from audio_lm.run.train import train
from tests.conftest import WAVLM


def weights(folder, stage):
    return {path.stem: load_file(path) for path in folder.model(stage).glob("*.safetensors")}


def assert_equal_weights(ours, theirs):
    assert ours.keys() == theirs.keys()
    for part in ours:
        for name, value in ours[part].items():
            assert torch.equal(value, theirs[part][name]), f"{part} {name}"


def test_a_run_writes_its_documented_files(whole_run):
    for name in (
        "recipe.yaml",
        "scores.json",
        "mlflow.txt",
        "predictions/events.jsonl",
        "predictions/untrained/events.jsonl",
    ):
        assert (whole_run.path / name).is_file(), name
    for stage, steps in (("pretrain", 6), ("chat", 3)):
        assert whole_run.status(stage)["step"] == steps
        assert whole_run.is_finished(stage)
        assert (whole_run.stage(stage) / "report" / "samples.html").is_file()
    scores = json.loads(whole_run.scores.read_text())
    assert {"events/acc", "untrained/events/acc"} <= scores.keys()


def test_a_stage_starts_from_the_weights_before_and_frozen_parts_stay(whole_run):
    before, after = weights(whole_run, "pretrain"), weights(whole_run, "chat")
    for part in ("encoder", "projector"):
        assert_equal_weights({part: before[part]}, {part: after[part]})
    moved = [
        name
        for name, value in before["language_model"].items()
        if not torch.equal(value, after["language_model"][name])
    ]
    assert moved


def test_mlflow_has_a_parent_and_a_child_per_stage_with_curves(whole_run, small_recipe):
    store = sqlite3.connect(small_recipe.parent / "mlflow.db")
    ids = dict(
        line.split(": ", 1)
        for line in (whole_run.path / "mlflow.txt").read_text().splitlines()
        if ": " in line
    )
    parent = ids["recipe"]
    for stage in ("pretrain", "chat"):
        child = ids[f"stages/{stage}"]
        tags = dict(store.execute("select key, value from tags where run_uuid = ?", (child,)))
        assert tags["mlflow.parentRunId"] == parent
        assert store.execute("select status from runs where run_uuid = ?", (child,)).fetchone() == (
            "FINISHED",
        )
    keys = {
        key
        for (key,) in store.execute(
            "select distinct key from metrics where run_uuid = ?", (ids["stages/pretrain"],)
        )
    }
    assert {"val_loss/sec", "events/acc"} <= keys


def mlflow_statuses(out, recipe):
    """Run key -> its status in MLflow."""
    store = sqlite3.connect(recipe.parent / "mlflow.db")
    status_of_id = dict(store.execute("select run_uuid, status from runs"))
    lines = (line.split(": ", 1) for line in (out / "mlflow.txt").read_text().splitlines())
    return {key: status_of_id[run_id] for key, run_id in lines if key != "tracking_uri"}


@pytest.mark.slow
def test_a_stopped_run_resumes_and_ends_with_the_same_weights(
    whole_run, small_recipe, tmp_path, console, monkeypatch
):
    class Interrupt(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 3:
                os.kill(os.getpid(), signal.SIGINT)

    build = training.build_trainer
    monkeypatch.setattr(
        training,
        "build_trainer",
        lambda *a, callbacks, **k: build(*a, callbacks=[Interrupt(), *callbacks], **k),
    )
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt, match="resume=auto"):
        train(load_recipe(small_recipe), out=out, console=console)
    assert json.loads((out / "stages/pretrain/status.json").read_text())["step"] == 4
    assert mlflow_statuses(out, small_recipe) == {"recipe": "KILLED", "stages/pretrain": "KILLED"}
    monkeypatch.setattr(training, "build_trainer", build)
    resumed = train(load_recipe(small_recipe, ["resume=auto"]), out=out, console=console)
    assert "continues from step 4" in console.export_text()
    keys = ("recipe", "stages/pretrain", "stages/chat")
    assert mlflow_statuses(out, small_recipe) == dict.fromkeys(keys, "FINISHED")
    for stage in ("pretrain", "chat"):
        assert_equal_weights(weights(resumed, stage), weights(whole_run, stage))


@pytest.mark.slow
def test_a_single_stage_starts_from_the_weights_of_the_stage_before(
    whole_run, small_recipe, tmp_path, console
):
    out = tmp_path / "only"
    train(load_recipe(small_recipe, ["only=[pretrain]"]), out=out, console=console)
    assert not (out / "stages" / "chat").exists()
    folder = train(load_recipe(small_recipe, ["only=[chat]"]), out=out, console=console)
    assert_equal_weights(weights(folder, "chat"), weights(whole_run, "chat"))


def test_a_stage_without_the_one_before_it_is_refused(small_recipe, tmp_path, console):
    with pytest.raises(CheckpointError, match="run that stage first"):
        train(load_recipe(small_recipe, ["only=[chat]"]), out=tmp_path / "none", console=console)
    with pytest.raises(RecipeError, match="sft"):
        train(load_recipe(small_recipe, ["only=[sft]"]), out=tmp_path / "none", console=console)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("overrides", "kind", "words"),
    [
        (
            ["+stages.pretrain.parts.adapter={lr: 1e-3}"],
            RecipeError,
            r"'pretrain'.*\['adapter'\] match no parameter",
        ),
        (["~stages.pretrain.parts.projector"], RecipeError, r"\['projector'\] are not mentioned"),
        (["stages.pretrain.mixture.sources.sec=[synthetic/evnets-train]"], DataError, "evnets-train"),
        (["evaluation.benchmarks.events.source=synthetic/nothing-test"], DataError, "benchmark 'events'"),
        (["stages.pretrain.pack_tokens=20"], DataError, "over pack_tokens=20"),
    ],
)
def test_an_invalid_recipe_is_refused_before_anything_is_written(
    small_recipe, tmp_path, console, overrides, kind, words
):
    out = tmp_path / "wrong"
    with pytest.raises(kind, match=words):
        train(load_recipe(small_recipe, overrides), out=out, console=console)
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_refused(small_recipe, console):
    with pytest.raises(UserError, match="cannot be written"):
        train(
            load_recipe(small_recipe), out=__import__("pathlib").Path("/proc/nothing/here"), console=console
        )


OTHER_PARTS = [
    "model.encoder.kind=transformers",
    f"+model.encoder.settings={json.dumps(WAVLM)}",
    "model.projector={kind: pooled, factor: 4}",
    "+model.lora.language_model={rank: 2}",
    "stages.pretrain.parts.encoder.lr=null",
    "+stages.pretrain.parts.language_model_lora={lr: 1e-2}",
    "stages.chat.parts.language_model.lr=null",
    "+stages.chat.parts.language_model_lora={lr: 1e-2}",
]


@pytest.mark.slow
def test_another_encoder_another_projector_and_lora_are_trained(small_recipe, tmp_path, console):
    pytest.importorskip("peft")
    overrides = [*OTHER_PARTS, "stages.pretrain.spec_augment=null", "stages.chat.spec_augment=null"]
    folder = train(load_recipe(small_recipe, overrides), out=tmp_path / "other", console=console)
    before, after = weights(folder, "pretrain"), weights(folder, "chat")
    assert_equal_weights(
        {"language_model": before["language_model"]}, {"language_model": after["language_model"]}
    )
    for name, value in before["language_model_lora"].items():
        assert not torch.equal(value, after["language_model_lora"][name]), name


def test_spec_augment_without_log_mel_input_is_refused(small_recipe):
    with pytest.raises(RecipeError, match=r"stage 'chat' has spec_augment"):
        load_recipe(small_recipe, OTHER_PARTS)
