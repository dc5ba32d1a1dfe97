"""A resumed stage has the curves and weights of an uninterrupted one, bit for bit."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing
from torch.utils.data import DataLoader
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from audio_lm.checkpoints.config import CheckpointConfig
from audio_lm.checkpoints.discovery import find_checkpoint, newest_valid, valid_checkpoints
from audio_lm.checkpoints.state import progress_of
from audio_lm.common.errors import CheckpointError, DataError
from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.model.build import build_model
from audio_lm.model.config import LoraConfig
from audio_lm.training.callbacks.checkpoint import StageCheckpoint
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.distributed import TokenSumDDPStrategy
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.param_groups import learning_rates
from tests.conftest import TINY
from tests.forked import on_ranks, together

STEPS = 6
PARTS = {
    "encoder": PartConfig(lr=1e-3, from_step=3),
    "projector": PartConfig(lr=1e-3),
    "new_tokens": PartConfig(lr=1e-3),
    "language_model": PartConfig(lr=None),
}


class RecordingLogger(Logger):
    """Records every metric with its step; fails if a point is logged twice."""

    name = version = ""

    def __init__(self):
        super().__init__()
        self.points = {}

    @property
    @rank_zero_experiment
    def experiment(self):
        return self

    def log_metrics(self, metrics, step=None):
        for name, value in metrics.items():
            if name != "epoch":
                assert (name, step) not in self.points, f"{name} was logged twice at step {step}"
                self.points[name, step] = float(value).hex()

    def log_hyperparams(self, params, *args, **kwargs):
        pass


class StopAfter(Callback):
    def __init__(self, step, *, after_validation=True):
        self.step, self.after_validation = step, after_validation

    def on_train_batch_start(self, trainer, *_):
        if self.after_validation and trainer.global_step == self.step:
            raise RuntimeError("stopped")

    def on_train_batch_end(self, trainer, *_):
        if not self.after_validation and trainer.global_step == self.step:
            raise RuntimeError("stopped")


@pytest.fixture
def packs(make_cuts, vocabulary):
    """Packs of each step; one a step."""
    maker = ExampleMaker(vocabulary, "tags")
    cuts = [with_example(cut, maker.example(cut, "asr", i)) for i, cut in enumerate(make_cuts(STEPS))]
    return [(Collator()([cut]),) for cut in cuts]


@pytest.fixture
def fit(packs, make_model, tmp_path):
    """Train from a checkpoint, or from step 0; returns the model, logged points and trainer."""

    def fit_stage(
        folder=None,
        *,
        resume_from=None,
        stop=None,
        every=2,
        dropout=0.0,
        parts=PARTS,
        validate=3,
        precision="32-true",
        recomputed=False,
        packs_per_step=1,
        model=None,
        callbacks=(),
        num_ranks=1,
        tensor_parallel=1,
        run_id=None,
        **config,
    ):
        model = model or make_model()
        if recomputed:
            apply_activation_checkpointing(
                model.language_model, check_fn=lambda module: isinstance(module, Qwen2DecoderLayer)
            )
        model.projector.register_forward_hook(
            lambda module, args, output: torch.nn.functional.dropout(output, dropout, module.training)
        )
        module = NextTokenModule(
            model,
            rate_of=learning_rates([name for name, _ in model.named_parameters()], parts),
            factor=lambda step: 1.0 / (1 + step),
            optimizer=OptimizerConfig(),
            tensor_parallel=tensor_parallel,
            log_every=4,  # so that a checkpoint is written between two logs
        )
        folder = folder or tmp_path / "stage"
        keep = StageCheckpoint(
            folder,
            steps=STEPS,
            every=every,
            config=CheckpointConfig(**{"every_minutes": 0, "keep_best": 0, **config}),
            facts={"stage": "pretrain"},
            progress={"stage": "pretrain", "settings": {"a": 1}},
            cursor_behind={step: (step, 0, step) for step in range(STEPS + 1)},
            resume_from=resume_from,
        )
        curves = RecordingLogger()
        if run_id is not None:
            curves.run_id = run_id
        trainer = Trainer(
            accelerator="cpu",
            precision=precision,
            devices=num_ranks,
            strategy=TokenSumDDPStrategy() if num_ranks > 1 else "auto",
            use_distributed_sampler=False,
            max_steps=STEPS,
            max_epochs=-1,
            val_check_interval=validate,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            logger=curves,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            callbacks=[*callbacks, keep, *([stop] if stop else [])],
        )
        first = resume_from.step if resume_from else 0
        torch.manual_seed(first)  # not the state that an uninterrupted run has here
        steps = [(packs[step] * packs_per_step) for step in range(first, STEPS)]
        loaders = DataLoader(steps, batch_size=None), DataLoader(packs[:1], batch_size=None)
        if stop:
            with pytest.raises(RuntimeError, match="stopped"):
                trainer.fit(module, *loaders)
        else:
            trainer.fit(module, *loaders)
        return model, curves.points, trainer

    return fit_stage


def stop_and_resume(fit, tmp_path, stop, **settings):
    """Model, points of both attempts, and the step of the checkpoint."""
    _, before, _ = fit(tmp_path / "stopped", stop=stop, **settings)
    found = find_checkpoint(tmp_path / "stopped" / "checkpoints").found
    model, after, trainer = fit(tmp_path / "stopped", resume_from=found, **settings)
    assert trainer.global_step == STEPS
    return model, before | after, found.step


def steps_saved(folder):
    return [checkpoint.step for checkpoint in valid_checkpoints(folder / "checkpoints")]


def checkpoint_callback(trainer):
    return next(callback for callback in trainer.callbacks if isinstance(callback, StageCheckpoint))


class Sums(Callback):
    """Has a state: the sum of steps as a tensor, and their list."""

    def __init__(self):
        self.sum, self.steps = torch.zeros(()), []

    def on_train_batch_end(self, trainer, *_):
        self.steps.append(trainer.global_step)
        self.sum = self.sum + trainer.global_step

    def state_dict(self):
        return {"sum": self.sum, "steps": self.steps}

    def load_state_dict(self, state):
        self.sum, self.steps = state["sum"], state["steps"]


def assert_same(model, other):
    for (name, value), expected in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(value, expected), name


@pytest.mark.parametrize(("stop", "every"), [(1, 1), (2, 2), (3, 3), (4, 1), (5, 5)])
def test_resuming_from_any_step_gives_the_same_weights_and_curves(fit, tmp_path, stop, every):
    uninterrupted, points, _ = fit()
    assert {name for name, _ in points} >= {"train_loss/all", "val_loss/all", "lr"}
    model, resumed, step = stop_and_resume(fit, tmp_path, StopAfter(stop), every=every)
    assert step == stop
    assert_same(model, uninterrupted)
    assert resumed == points


def test_a_validation_missed_by_a_stop_runs_after_the_resume(fit, tmp_path):
    """A stop signal can cause a checkpoint before the validation of its step."""

    class SaveAndStop(StopAfter):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == self.step:
                checkpoint_callback(trainer).save(trainer)
                raise RuntimeError("stopped")

    _, points, _ = fit()
    _, before, _ = fit(tmp_path / "stopped", stop=SaveAndStop(3), every=100)
    assert ("val_loss/all", 2) not in before
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    assert not progress_of(found)["is_validated"]
    _, after, _ = fit(tmp_path / "stopped", resume_from=found, every=100)
    assert before | after == points


def test_a_kill_between_step_and_validation_repeats_the_step(fit, tmp_path):
    _, points, _ = fit()
    _, resumed, step = stop_and_resume(fit, tmp_path, StopAfter(3, after_validation=False), every=1)
    assert step == 2
    assert resumed == points


def test_dropout_masks_are_the_same_after_a_restart(fit, tmp_path, monkeypatch):
    uninterrupted, points, _ = fit(dropout=0.5)
    _, without, _ = fit(tmp_path / "without")
    assert points != without
    model, resumed, _ = stop_and_resume(fit, tmp_path, StopAfter(2), dropout=0.5)
    assert_same(model, uninterrupted)
    assert resumed == points
    counter = itertools.count()  # control: a seed that depends on the process and not on the step
    monkeypatch.setattr("audio_lm.training.step.key_of", lambda *_: next(counter))
    _, points, _ = fit(tmp_path / "counted", dropout=0.5)
    _, resumed, _ = stop_and_resume(fit, tmp_path / "other", StopAfter(2), dropout=0.5)
    assert resumed != points


@pytest.mark.parametrize("not_restored", ["optimizer", "loss_sums", "step"])
def test_curves_differ_if_optimizer_loss_sums_or_step_are_not_restored(
    fit, tmp_path, monkeypatch, not_restored
):
    """Control of the tests above."""
    _, points, _ = fit()
    _, before, _ = fit(tmp_path / "stopped", stop=StopAfter(2))
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    path = "audio_lm.training.callbacks.checkpoint."
    if not_restored == "optimizer":
        monkeypatch.setattr(path + "state._load_optimizer", lambda *_: None)
    if not_restored == "loss_sums":
        without = lambda found: progress_of(found) | {"loss_sums": [{}]}  # noqa: E731
        monkeypatch.setattr(path + "state.progress_of", without)
    if not_restored == "step":
        monkeypatch.setattr("audio_lm.common.compat.set_step", lambda trainer, step: None)
    with pytest.MonkeyPatch.context() as patch:
        if not_restored == "step":  # the fit would run out of batches
            patch.setattr("tests.training.callbacks.test_checkpoint.STEPS", 4)
        _, after, _ = fit(tmp_path / "stopped", resume_from=found, every=100)
    assert before | after != points


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_loss_sums_of_tensor_parallel_ranks_are_restored_once_on_any_number_of_ranks(
    fit, packs, tmp_path, num_ranks
):
    folder, settings = tmp_path / "stopped", {"asynchronous": False, "every": 1}

    def learned_tokens(count, **more):
        ranks = {"num_ranks": count, "tensor_parallel": count}
        work = lambda number: bool(fit(folder, **settings, **ranks, **more))  # noqa: E731
        assert on_ranks(count, together(work)) == [True] * count
        (sums,) = progress_of(newest_valid(folder / "checkpoints"))["loss_sums"]
        return sums["asr"][1]

    assert learned_tokens(2, stop=StopAfter(2)) == sum(pack.num_learned for (pack,) in packs[:2])
    found = newest_valid(folder / "checkpoints")
    assert found.manifest.world_size == 2
    assert learned_tokens(num_ranks, stop=StopAfter(3), resume_from=found) == sum(
        pack.num_learned for (pack,) in packs[:3]
    )


def test_a_finished_stage_is_not_trained_again(fit, tmp_path):
    uninterrupted, points, _ = fit(tmp_path / "uninterrupted")
    found = newest_valid(tmp_path / "uninterrupted" / "checkpoints")
    assert found.step == STEPS
    model, resumed, trainer = fit(tmp_path / "uninterrupted", resume_from=found)
    assert trainer.global_step == STEPS
    assert resumed == {}
    assert_same(model, uninterrupted)
    assert points


def test_a_checkpoint_has_step_and_cursor_and_trained_weights_only(fit, tmp_path):
    fit(tmp_path / "stage", stop=StopAfter(4))
    status = json.loads((tmp_path / "stage" / "status.json").read_text())
    assert status["step"] == 4
    assert (status["cursor"], status["checkpoint"]) == ([4, 0, 4], "step-00000004")
    assert not status["finished"]
    assert "settings" not in status
    found = newest_valid(tmp_path / "stage" / "checkpoints")
    assert set(found.manifest.facts["frozen"]) == {"language_model"}
    assert progress_of(found)["settings"] == {"a": 1}
    assert b"language_model" not in (found.path / ".metadata").read_bytes()


def test_a_checkpoint_names_the_tracking_run_of_the_logger(fit, tmp_path):
    fit(tmp_path / "stage", every=3, run_id="r1")
    found = newest_valid(tmp_path / "stage" / "checkpoints")
    assert found.manifest.facts["mlflow_run_id"] == "r1"
    assert json.loads((tmp_path / "stage" / "status.json").read_text())["mlflow_run_id"] == "r1"


def test_the_checkpoint_of_the_best_validation_is_kept(fit, tmp_path):
    fit(tmp_path / "stage", every=1, validate=1, keep_best=1)
    losses = {
        checkpoint.step: checkpoint.manifest.facts["val_loss"]
        for checkpoint in valid_checkpoints(tmp_path / "stage" / "checkpoints")
    }
    assert len(losses) in (2, 3)
    assert {5, 6} <= losses.keys()
    assert None not in losses.values()


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
