import json

import pytest
from lightning import Callback
from rich.console import Console

from audio_lm.checkpoints.discovery import valid_checkpoints
from audio_lm.config.load import load_recipe
from audio_lm.run import stage
from audio_lm.run.time_ledger import LedgerCallback
from audio_lm.run.train import train
from audio_lm.training.callbacks.checkpoint import StageCheckpoint
from audio_lm.training.callbacks.preemption import PreemptionCallback


def test_a_checkpoint_has_the_counts_of_its_own_step_and_is_saved_before_the_stop(
    small_recipe, tmp_path, monkeypatch
):
    built = []
    build = stage.build_trainer

    def build_recorded(recipe, config, folder, *, callbacks, **more):
        built.append([type(callback) for callback in callbacks])
        return build(recipe, config, folder, callbacks=callbacks, **more)

    monkeypatch.setattr(stage, "build_trainer", build_recorded)
    train(load_recipe(small_recipe, ["only=[pretrain]"]), out=tmp_path / "run", console=Console(quiet=True))
    (kinds,) = built
    assert kinds[-3:] == [StageCheckpoint, LedgerCallback, PreemptionCallback]
    status = json.loads((tmp_path / "run/stages/pretrain/status.json").read_text())
    assert status["finished"]
    assert status["evaluated"]


@pytest.mark.slow
def test_a_stage_without_validation_clips_writes_its_checkpoints(small_recipe, tmp_path):
    """Steps of validation and of checkpoints coincide, and there is nothing to validate."""
    overrides = ["~stages.pretrain.validation", "stages.pretrain.validate_every=2", "only=[pretrain]"]
    every = ["stages.pretrain.checkpoint_every=2", "stages.pretrain.checkpoints.keep_last=9"]
    train(load_recipe(small_recipe, [*overrides, *every]), out=tmp_path / "run", console=Console(quiet=True))
    folder = tmp_path / "run/stages/pretrain/checkpoints"
    assert [one.step for one in valid_checkpoints(folder)] == [6, 4, 2]


@pytest.mark.parametrize(("every", "steps"), [(0, [5]), (4, [3])])
def test_without_an_interval_a_stage_is_validated_at_its_end(small_recipe, tmp_path, every, steps):
    overrides = [f"stages.pretrain.validate_every={every}", "only=[pretrain]"]
    train(load_recipe(small_recipe, overrides), out=tmp_path / "run", console=Console(quiet=True))
    lines = map(json.loads, (tmp_path / "run/stages/pretrain/metrics.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if "val_loss/all" in line.get("values", {})] == steps


class Fails(Callback):
    def on_train_batch_start(self, trainer, *_):
        raise RuntimeError("in the first step")


def test_an_error_in_a_step_is_recorded_with_its_stage(small_recipe, tmp_path, monkeypatch):
    build = stage.build_trainer
    monkeypatch.setattr(
        stage, "build_trainer", lambda *a, callbacks, **k: build(*a, callbacks=[*callbacks, Fails()], **k)
    )
    with pytest.raises(RuntimeError, match="in the first step"):
        train(load_recipe(small_recipe), out=tmp_path / "run", console=Console(quiet=True))
    error = json.loads((tmp_path / "run/errors/rank-0.json").read_text())
    assert (error["stage"], error["step"], error["kind"]) == ("pretrain", 0, "RuntimeError")
