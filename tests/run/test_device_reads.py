"""No step of the training loop waits for the device, except where it logs, validates or saves."""

import os

from lightning import Callback
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from rich.console import Console

from audio_lm.config.load import load_recipe
from audio_lm.data.datamodule import PackDataset
from audio_lm.model.decoder import chunked_cross_entropy
from audio_lm.run import stage as training
from audio_lm.run.train import train
from audio_lm.training import distributed, step
from audio_lm.training.callbacks.checkpoint import StageCheckpoint
from tests.training.host_reads import HostReads

STEPS = 6


class Counting(Callback):
    """Counts from the first to the last step, in the loop itself, in the module and in all callbacks."""

    def __init__(self, reads):
        self.reads, self.num_steps = reads, 0

    def on_train_start(self, trainer, module):
        self.context = self.reads.active()
        self.context.__enter__()

    def on_train_batch_end(self, trainer, module, *_):
        self.num_steps += 1

    def on_train_end(self, trainer, module):
        self.context.__exit__(None, None, None)


def pause_in(monkeypatch, reads, owner, name):
    original = getattr(owner, name)

    def paused(*arguments, **options):
        with reads.paused():
            return original(*arguments, **options)

    monkeypatch.setattr(owner, name, paused)


def counted_run(recipe, out, monkeypatch, *overrides, callbacks=()):
    """Reads of a run whose tensors all count as the device's."""
    reads, build = HostReads(), training.build_trainer
    counting = Counting(reads)
    for module in (step, distributed, chunked_cross_entropy):
        monkeypatch.setattr(module, "is_on_host", lambda value: False)
    for owner, name in (
        (PackDataset, "__getitem__"),  # a data worker
        (step.TrainStep, "_log_curves"),
        (step.TrainStep, "read_records"),
        (StageCheckpoint, "_save"),
        (_EvaluationLoop, "run"),
    ):
        pause_in(monkeypatch, reads, owner, name)
    added = [counting, *callbacks]
    monkeypatch.setattr(
        training, "build_trainer", lambda *a, callbacks, **k: build(*a, callbacks=[*added, *callbacks], **k)
    )
    with open(os.devnull, "w") as nothing:
        overrides = ("only=[pretrain]", f"stages.pretrain.steps={STEPS}", *overrides)
        train(load_recipe(recipe, overrides), out=out, console=Console(file=nothing))
    assert counting.num_steps == STEPS
    return reads


def test_no_step_reads_the_device_outside_of_logging(small_recipe, small, tmp_path, monkeypatch):
    settings = ("stages.pretrain.packs_per_step=2", "hardware.activation_checkpointing=[encoder]")
    reads = counted_run(small_recipe, tmp_path / "run", monkeypatch, *settings)
    assert not reads.found


class Reading(Callback):
    """Reads in every step what a step must not read."""

    def on_before_optimizer_step(self, trainer, module, optimizer):
        weight = module.model.new_tokens.input
        if float(weight[0, 0]) == 0.0 or weight[weight > 1].numel() or weight.isnan().any():
            weight.tolist()


def test_reads_of_a_callback_are_found(small_recipe, small, tmp_path, monkeypatch):
    reads = counted_run(small_recipe, tmp_path / "run", monkeypatch, callbacks=[Reading()])
    counts = {name.partition(" at ")[0]: count for name, count in reads.found.items()}
    assert counts["__float__"] == counts["__bool__"] == counts["aten.index.Tensor"] == STEPS
