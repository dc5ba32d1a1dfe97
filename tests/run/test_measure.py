"""The time of a run, measured before its start: printed first, and without effect on what is trained."""

import json
import os

import pytest
from lightning import Callback
from rich.console import Console

from audio_lm.common.errors import RecipeError
from audio_lm.config.load import load_recipe
from audio_lm.run import measure
from audio_lm.run import stage as training
from audio_lm.run.measure import measure_recipe
from audio_lm.run.train import train
from tests.forked import on_ranks
from tests.run.command import run
from tests.run.observed_run import disable_watchdog
from tests.run.test_train import assert_equal_weights, weights

MEASURED = 3  # steps from which a stage is measured in these tests


class Losses(Callback):
    """Records the loss of every step."""

    def __init__(self):
        self.values = []

    def on_fit_start(self, trainer, module):
        module.log_every = 1

    def on_train_batch_end(self, trainer, *_):
        self.values.append(float(trainer.callback_metrics["train_loss/all"]))


def observed_run(recipe, out, *overrides):
    """Train; returns the run, the loss of every step and the output."""
    losses, build = Losses(), training.build_trainer
    training.build_trainer = lambda *a, callbacks, **k: build(*a, callbacks=[losses, *callbacks], **k)
    console = Console(record=True, width=400, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115
    try:
        folder = train(load_recipe(recipe, overrides), out=out, console=console)
    finally:
        training.build_trainer = build
    return folder, losses.values, console.export_text()


@pytest.mark.slow
def test_a_measured_run_trains_bit_for_bit_the_same_and_prints_its_time_first(
    small_recipe, small, tmp_path, monkeypatch
):
    plain, plain_losses, text = observed_run(small_recipe, tmp_path / "plain")
    assert "from here" not in text, "the stages are short"
    monkeypatch.setattr(measure, "MIN_STEPS", MEASURED)
    measured, losses, text = observed_run(small_recipe, tmp_path / "measured")
    assert losses == plain_losses
    for stage in ("pretrain", "chat"):
        assert_equal_weights(weights(measured, stage), weights(plain, stage))
    lines = text.splitlines()
    (line,) = [number for number, line in enumerate(lines) if "from here: pretrain 6 steps at" in line]
    assert "and 2 validations of" in lines[line]
    assert "evaluation" in lines[line]
    assert line < min(
        number for number, each in enumerate(lines) if "step 6/6" in each or "evaluating" in each
    )
    took, goodput, following = lines[-3:]
    assert "was estimated" in took
    assert goodput.startswith("goodput")
    assert following.startswith(f"next: audio-lm report {tmp_path}")


def train_on_two_ranks(small_recipe, out, min_steps):
    def work(number):
        disable_watchdog()
        measure.MIN_STEPS = min_steps
        overrides = ("hardware.devices=2", "stages.pretrain.packs_per_step=2", "stages.chat.packs_per_step=2")
        _, losses, text = observed_run(small_recipe, out, *overrides)
        return losses, text

    return on_ranks(2, work)


@pytest.mark.slow
def test_two_ranks_are_measured_together_without_effect(small_recipe, small, tmp_path):
    (plain, _), _ = train_on_two_ranks(small_recipe, tmp_path / "plain", 1000)
    (losses, text), _ = train_on_two_ranks(small_recipe, tmp_path / "measured", MEASURED)
    assert "from here: pretrain 6 steps at" in text
    assert losses == plain


@pytest.mark.slow
def test_a_resumed_run_is_measured_for_what_is_left(small_recipe, small, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "MIN_STEPS", 2)
    observed_run(small_recipe, tmp_path / "run", "only=[pretrain]")
    _, losses, text = observed_run(small_recipe, tmp_path / "run", "resume=auto")
    assert "from here: chat 3 steps at" in text
    assert len(losses) == 3


def test_plan_measures_a_recipe_without_a_run(small_recipe, small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("plan", small_recipe, "--measure") == 0
    assert "from here: pretrain 6 steps at" in capsys.readouterr().out
    assert run("plan", small_recipe, "--measure", "--json") == 0
    seconds = json.loads(capsys.readouterr().out)["seconds"]
    assert seconds.keys() == {"pretrain", "chat", "evaluation", "total"}
    assert seconds["total"] == pytest.approx(sum(seconds.values()) - seconds["total"])
    assert not list(tmp_path.iterdir())


def test_a_compiled_model_is_refused_by_plan(small_recipe):
    with pytest.raises(RecipeError, match=r"--measure: hardware\.sharding or hardware\.compile is set"):
        measure_recipe(load_recipe(small_recipe, ["hardware.compile=true"]).recipe)
