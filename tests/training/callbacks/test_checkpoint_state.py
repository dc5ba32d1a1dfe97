"""Counters, optimizers, states of callbacks and frozen weights of a resumed stage."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning import Callback

from audio_lm.checkpoints.discovery import newest_valid
from audio_lm.checkpoints.state import progress_of
from audio_lm.common.errors import CheckpointError, DataError
from audio_lm.model.build import build_model
from audio_lm.model.config import LoraConfig
from audio_lm.training.config import PartConfig
from tests.conftest import TINY
from tests.training.callbacks.stopped_stage import (
    PARTS,
    STEPS,
    StopAfter,
    Sums,
    assert_same,
    checkpoint_callback,
    steps_saved,
)


def test_all_counters_of_steps_are_restored(fit, tmp_path):
    class RecordCounters(Callback):
        def on_train_start(self, trainer, module):
            state = trainer.optimizers[0].state
            self.num_updates = int(state[module.model.new_tokens.input]["step"])
            self.num_updates_of_encoder = int(state[module.model.encoder.conv1.weight]["step"])
            loop = trainer.fit_loop.epoch_loop
            self.counted = (trainer.global_step, loop.total_batch_idx + 1, loop._batches_that_stepped)

        def on_train_batch_start(self, trainer, module, *_):
            if trainer.global_step == 5:
                raise RuntimeError("stopped")

    fit(tmp_path / "stage", stop=StopAfter(4))
    found = newest_valid(tmp_path / "stage" / "checkpoints")
    recorder = RecordCounters()
    _, points, _ = fit(tmp_path / "stage", resume_from=found, stop=recorder)
    assert recorder.counted == (4, 4, 4)
    assert (recorder.num_updates, recorder.num_updates_of_encoder) == (4, 1)
    assert (found.step, progress_of(found)["cursor"]) == (4, [4, 0, 4])
    _, points, _ = fit(tmp_path / "stage", resume_from=found)
    assert points["val_loss/all", 5]


class RecordState(Callback):
    """Records counters, cursor, optimizer steps and rates of each step."""

    def __init__(self):
        self.lines, self.rates = {}, {}

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.rates[trainer.global_step] = [group["lr"].hex() for group in optimizer.param_groups]

    def on_train_batch_end(self, trainer, module, *_):
        step, loop = trainer.global_step, trainer.fit_loop.epoch_loop
        counted = (loop.total_batch_idx + 1, loop._batches_that_stepped)
        keep = checkpoint_callback(trainer)
        state = trainer.optimizers[0].state
        num_updates = sorted({int(values["step"]) for values in state.values()})
        self.lines[step] = (counted, keep.cursor_behind[step], num_updates, self.rates[step - 1])


@pytest.mark.parametrize("not_restored", [None, "moments", "step"])
def test_rate_optimizer_step_counters_and_cursor_equal_those_of_an_uninterrupted_run(
    fit, tmp_path, monkeypatch, not_restored
):
    uninterrupted, before, after = RecordState(), RecordState(), RecordState()
    fit(tmp_path / "uninterrupted", callbacks=[uninterrupted])
    assert len({rate for *_, (rate, *_) in uninterrupted.lines.values()}) == STEPS, (
        "rates of all steps must differ for this test"
    )
    fit(tmp_path / "stopped", stop=StopAfter(3), every=1, callbacks=[before])
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    path = "audio_lm.training.callbacks.checkpoint."
    if not_restored == "moments":
        monkeypatch.setattr(path + "state._load_optimizer", lambda *_: None)
    if not_restored == "step":
        monkeypatch.setattr("audio_lm.common.compat.set_step", lambda trainer, step: None)
    settings = {"resume_from": found, "every": 100, "callbacks": [after]}
    if not_restored == "step":  # it would run out of batches
        settings["stop"] = StopAfter(2)
    fit(tmp_path / "stopped", **settings)
    is_same = before.lines | after.lines == uninterrupted.lines
    assert is_same == (not_restored is None)
    assert min(after.lines) == (1 if not_restored == "step" else found.step + 1)


class RecordSaves(Callback):
    """Records the number of packs and of optimizer steps at every save."""

    def __init__(self, save_in_a_step=None):
        self.num_conversations, self.saves, self.save_in_a_step = 0, [], save_in_a_step

    def on_after_backward(self, trainer, module):
        self.num_conversations += 1
        if self.num_conversations == self.save_in_a_step:
            checkpoint_callback(trainer).save(trainer)

    def on_save_checkpoint(self, trainer, module, checkpoint):
        module = trainer.lightning_module
        moved = trainer.optimizers[0].state.get(module.model.new_tokens.input, {"step": 0})["step"]
        self.saves.append((trainer.global_step, self.num_conversations, int(moved)))


@pytest.mark.parametrize("is_control", [False, True])
def test_states_of_callbacks_are_restored(fit, tmp_path, monkeypatch, is_control):
    if is_control:
        monkeypatch.setattr("audio_lm.training.callbacks.checkpoint.load_callback_states", lambda *_: [])
    _, found = fit(tmp_path, stop=StopAfter(4), callbacks=[Sums()]), newest_valid(tmp_path / "checkpoints")
    sums = Sums()
    fit(tmp_path, resume_from=found, callbacks=[sums])
    assert (sums.steps == list(range(1, STEPS + 1))) is not is_control
    assert (float(sums.sum) == sum(range(1, STEPS + 1))) is not is_control


@pytest.mark.parametrize("is_control", [False, True])
def test_with_gradient_accumulation_checkpoints_are_saved_at_the_end_of_steps_only(fit, tmp_path, is_control):
    """Three packs a step; the control saves between two packs."""
    recorder = RecordSaves(save_in_a_step=8 if is_control else None)
    settings = {"every": 2, "validate": 3, "keep_last": 9, "callbacks": [recorder]}
    fit(tmp_path / "stage", packs_per_step=3, **settings)
    ended = [(step, 3 * step, step) for step in (2, 4, 6)]
    assert [save for save in recorder.saves if save[1] % 3 == 0] == [*ended, ended[-1]]
    assert [save for save in recorder.saves if save[1] % 3] == ([(2, 8, 2)] if is_control else [])
    assert steps_saved(tmp_path / "stage") == [6, 4, 2]


class NanGradients(Callback):
    def __init__(self, steps):
        self.steps = steps

    def on_after_backward(self, trainer, module):
        if trainer.global_step in self.steps:
            module.model.projector.linear.bias.grad[0] = float("nan")


def test_skipped_steps_in_a_row_are_counted_across_a_restart(fit, tmp_path, monkeypatch):
    settings = {"callbacks": [NanGradients({0, 2, 3, 4})], "every": 1}
    with pytest.raises(DataError, match=r"step 4: .* 3 steps in a row"):
        fit(tmp_path / "uninterrupted", **settings)
    fit(tmp_path / "stopped", stop=StopAfter(4), **settings)
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    assert progress_of(found)["nonfinite"] == [3, 2]
    with pytest.raises(DataError, match=r"step 4: .* 3 steps in a row"):
        fit(tmp_path / "stopped", resume_from=found, **settings)

    def without(checkpoint):
        return {key: value for key, value in progress_of(checkpoint).items() if key != "nonfinite"}

    monkeypatch.setattr("audio_lm.training.callbacks.checkpoint.state.progress_of", without)
    _, points, _ = fit(tmp_path / "stopped", resume_from=found, **settings)
    assert points, "control, and a checkpoint of an earlier release without the count: it starts at zero"


def test_a_checkpoint_is_written_after_every_minutes(fit, tmp_path, monkeypatch):
    monkeypatch.setattr("audio_lm.training.callbacks.checkpoint.CLOCK_STEPS", 2)
    fit(tmp_path / "late", every=100, every_minutes=1e-9, stop=StopAfter(5), keep_last=9)
    assert steps_saved(tmp_path / "late") == [4, 2]
    fit(tmp_path / "soon", every=100, every_minutes=1e6, stop=StopAfter(5))
    assert steps_saved(tmp_path / "soon") == []


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(("before", "after"), [(True, True), (False, True), (True, False)])
def test_resuming_is_bit_equal_in_any_precision_with_and_without_recomputation(
    fit, tmp_path, precision, before, after
):
    settings = {"dropout": 0.5, "precision": precision, "packs_per_step": 2}
    uninterrupted, points, _ = fit(tmp_path / "uninterrupted", recomputed=before, **settings)
    _, first, _ = fit(tmp_path / "stopped", stop=StopAfter(2), recomputed=before, **settings)
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    model, second, _ = fit(tmp_path / "stopped", resume_from=found, recomputed=after, **settings)
    assert_same(model, uninterrupted)
    assert first | second == points


def test_lora_updates_with_dropout_are_resumed_without_their_base_weights(fit, tmp_path, vocabulary):
    pytest.importorskip("peft")
    lora = {"language_model": LoraConfig(rank=2, dropout=0.5)}
    parts = PARTS | {"encoder": PartConfig(lr=None), "language_model_lora": PartConfig(lr=1e-2)}

    def build():
        torch.manual_seed(0)
        size = {"num_base": vocabulary.num_base, "num_new": len(vocabulary.new_tokens)}
        return build_model(replace(TINY, lora=lora), **size)

    uninterrupted, points, _ = fit(tmp_path / "uninterrupted", model=build(), parts=parts)
    fit(tmp_path / "stopped", model=build(), parts=parts, stop=StopAfter(3), every=1)
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    assert b"base_layer" not in (found.path / ".metadata").read_bytes()
    model, resumed, _ = fit(tmp_path / "stopped", model=build(), parts=parts, resume_from=found)
    assert_same(model, uninterrupted)
    assert resumed.items() <= points.items()
    assert resumed


def test_other_frozen_weights_are_refused(fit, tmp_path, make_model, monkeypatch):
    fit(tmp_path / "stage", stop=StopAfter(2))
    found = newest_valid(tmp_path / "stage" / "checkpoints")
    digests = "audio_lm.training.callbacks.checkpoint.state.frozen_digests"
    monkeypatch.setattr(digests, lambda *_: {"language_model": "another"})
    with pytest.raises(CheckpointError, match=r"frozen weights of \['language_model'\] are not those"):
        fit(tmp_path / "stage", resume_from=found)


@pytest.mark.parametrize(
    "parts",
    [
        PARTS | {"encoder": PartConfig(lr=None)},
        PARTS | {"language_model": PartConfig(lr=1e-3)},
        {part: PartConfig(lr=None) for part in PARTS} | {"language_model": PartConfig(lr=1e-3)},
    ],
)
def test_a_stage_that_trains_other_parts_is_refused(fit, tmp_path, parts):
    fit(tmp_path / "stage", stop=StopAfter(2))
    found = newest_valid(tmp_path / "stage" / "checkpoints")
    with pytest.raises(CheckpointError, match="refused because other parameters are trained"):
        fit(tmp_path / "stage", resume_from=found, parts=parts)


def test_a_last_checkpoint_that_cannot_be_written_is_an_error(fit):
    with pytest.raises(CheckpointError, match="NOT saved"):
        fit(Path("/proc/nope"), every=100)
