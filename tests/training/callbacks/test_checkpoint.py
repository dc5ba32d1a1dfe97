"""A stage that is stopped and goes on ends where an undisturbed one ends, curve and weights, bit for bit."""

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


class Curves(Logger):
    """Every point, and the step it was logged at."""

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
                assert (name, step) not in self.points, "a point twice"
                self.points[name, step] = float(value).hex()

    def log_hyperparams(self, params, *args, **kwargs):
        pass


class StopBehind(Callback):
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
    """One pack a step; the mixtures differ."""
    maker = ExampleMaker(vocabulary, "tags")
    cuts = [with_example(cut, maker.example(cut, "asr", i)) for i, cut in enumerate(make_cuts(STEPS))]
    return [(Collator()([cut]),) for cut in cuts]


@pytest.fixture
def fit(packs, make_model, tmp_path):
    """Trains from a checkpoint, or from the beginning."""

    def of(
        folder=None,
        *,
        begin=None,
        stop=None,
        every=2,
        dropout=0.0,
        parts=PARTS,
        validate=3,
        precision="32-true",
        recomputed=False,
        pieces=1,
        model=None,
        others=(),
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
            lambda module, args, heard: torch.nn.functional.dropout(heard, dropout, module.training)
        )
        module = NextTokenModule(
            model,
            rate_of=learning_rates([name for name, _ in model.named_parameters()], parts),
            factor=lambda step: 1.0 / (1 + step),
            optimizer=OptimizerConfig(),
            tensor_parallel=tensor_parallel,
            log_every=4,  # so that sums are open when a checkpoint is written
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
            begin=begin,
        )
        curves = Curves()
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
            callbacks=[*others, keep, *([stop] if stop else [])],
        )
        first = begin.step if begin else 0
        torch.manual_seed(first)  # chance that was carried along would be another now
        steps = [(packs[step] * pieces) for step in range(first, STEPS)]
        loaders = DataLoader(steps, batch_size=None), DataLoader(packs[:1], batch_size=None)
        if stop:
            with pytest.raises(RuntimeError, match="stopped"):
                trainer.fit(module, *loaders)
        else:
            trainer.fit(module, *loaders)
        return model, curves.points, trainer

    return of


def stopped_and_gone_on(fit, tmp_path, stop, **how):
    """Model, points of both attempts, and the step that was gone on from."""
    _, before, _ = fit(tmp_path / "stopped", stop=stop, **how)
    found = find_checkpoint(tmp_path / "stopped" / "checkpoints").found
    model, after, trainer = fit(tmp_path / "stopped", begin=found, **how)
    assert trainer.global_step == STEPS
    return model, before | after, found.step


class Sums(Callback):
    """Has a state of its own: a sum over steps, and the steps."""

    def __init__(self):
        self.sum, self.steps = torch.zeros(()), []

    def on_train_batch_end(self, trainer, *_):
        self.steps.append(trainer.global_step)
        self.sum = self.sum + trainer.global_step

    def state_dict(self):
        return {"sum": self.sum, "steps": self.steps}

    def load_state_dict(self, state):
        self.sum, self.steps = state["sum"], state["steps"]


def assert_same(one, other):
    for (name, value), twin in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(value, twin), name


@pytest.mark.parametrize(("stop", "every"), [(1, 1), (2, 2), (3, 3), (4, 1), (5, 5)])
def test_stopped_at_any_step_it_ends_with_the_same_weights_and_the_same_curves(fit, tmp_path, stop, every):
    whole, points, _ = fit()
    assert {name for name, _ in points} >= {"train_loss/all", "val_loss/all", "lr"}
    model, again, step = stopped_and_gone_on(fit, tmp_path, StopBehind(stop), every=every)
    assert step == stop
    assert_same(model, whole)
    assert again == points


def test_a_validation_that_was_left_out_is_made_up_for(fit, tmp_path):
    """A signal asks for a checkpoint before the validation of its step."""

    class SaveAndStop(StopBehind):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == self.step:
                next(one for one in trainer.callbacks if isinstance(one, StageCheckpoint)).save(trainer)
                raise RuntimeError("stopped")

    _, points, _ = fit()
    _, before, _ = fit(tmp_path / "stopped", stop=SaveAndStop(3), every=100)
    assert ("val_loss/all", 2) not in before
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    assert not progress_of(found)["is_validated"]
    _, after, _ = fit(tmp_path / "stopped", begin=found, every=100)
    assert before | after == points


def test_a_kill_between_step_and_validation_repeats_the_step(fit, tmp_path):
    _, points, _ = fit()
    _, again, step = stopped_and_gone_on(fit, tmp_path, StopBehind(3, after_validation=False), every=1)
    assert step == 2
    assert again == points


def test_dropout_falls_the_same_after_a_restart_and_otherwise_would_not(fit, tmp_path, monkeypatch):
    whole, points, _ = fit(dropout=0.5)
    _, without, _ = fit(tmp_path / "without")
    assert points != without
    model, again, _ = stopped_and_gone_on(fit, tmp_path, StopBehind(2), dropout=0.5)
    assert_same(model, whole)
    assert again == points
    carried_along = itertools.count()
    monkeypatch.setattr("audio_lm.training.step.key_of", lambda *_: next(carried_along))
    _, carried, _ = fit(tmp_path / "carried", dropout=0.5)
    _, again, _ = stopped_and_gone_on(fit, tmp_path / "other", StopBehind(2), dropout=0.5)
    assert again != carried


@pytest.mark.parametrize("forgotten", ["optimizer", "loss_sums", "step"])
def test_nothing_of_it_can_be_left_out(fit, tmp_path, monkeypatch, forgotten):
    """The control: each part of a checkpoint is needed for the curves to be equal."""
    _, points, _ = fit()
    _, before, _ = fit(tmp_path / "stopped", stop=StopBehind(2))
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    path = "audio_lm.training.callbacks.checkpoint."
    if forgotten == "optimizer":
        monkeypatch.setattr(path + "state._load_optimizer", lambda *_: None)
    if forgotten == "loss_sums":
        without = lambda found: progress_of(found) | {"loss_sums": [{}]}  # noqa: E731
        monkeypatch.setattr(path + "state.progress_of", without)
    if forgotten == "step":
        monkeypatch.setattr("audio_lm.common.compat.set_step", lambda trainer, step: None)
    with pytest.MonkeyPatch.context() as patch:
        if forgotten == "step":  # one more than there are batches is asked for
            patch.setattr("tests.training.callbacks.test_checkpoint.STEPS", 4)
        _, after, _ = fit(tmp_path / "stopped", begin=found, every=100)
    assert before | after != points


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_open_sums_of_two_ranks_that_hear_the_same_count_once_whoever_goes_on(
    fit, packs, tmp_path, num_ranks
):
    folder, how = tmp_path / "stopped", {"asynchronous": False, "every": 1}

    def on_alike(count, **more):
        how_many = {"num_ranks": count, "tensor_parallel": count}
        work = lambda number: bool(fit(folder, **how, **how_many, **more))  # noqa: E731
        assert on_ranks(count, together(work)) == [True] * count
        (sums,) = progress_of(newest_valid(folder / "checkpoints"))["loss_sums"]
        return sums["asr"][1]

    assert on_alike(2, stop=StopBehind(2)) == sum(pack.num_learned for (pack,) in packs[:2])
    found = newest_valid(folder / "checkpoints")
    assert found.manifest.world_size == 2
    assert on_alike(num_ranks, stop=StopBehind(3), begin=found) == sum(
        pack.num_learned for (pack,) in packs[:3]
    )


def test_a_stage_that_has_ended_is_not_trained_again(fit, tmp_path):
    whole, points, _ = fit(tmp_path / "whole")
    found = newest_valid(tmp_path / "whole" / "checkpoints")
    assert found.step == STEPS
    model, again, trainer = fit(tmp_path / "whole", begin=found)
    assert trainer.global_step == STEPS
    assert again == {}
    assert_same(model, whole)
    assert points


def test_status_and_manifest_say_where_it_is_and_only_what_learns_is_in_it(fit, tmp_path):
    fit(tmp_path / "stage", stop=StopBehind(4))
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


def test_the_best_validation_is_kept(fit, tmp_path):
    fit(tmp_path / "stage", every=1, validate=1, keep_best=1)
    losses = {
        one.step: one.manifest.facts["val_loss"]
        for one in valid_checkpoints(tmp_path / "stage" / "checkpoints")
    }
    assert len(losses) in (2, 3)
    assert {5, 6} <= losses.keys()
    assert None not in losses.values()


def test_everything_that_counts_steps_counts_on_from_the_same_one(fit, tmp_path):
    class Look(Callback):
        def on_train_start(self, trainer, module):
            state = trainer.optimizers[0].state
            self.moved = int(state[module.model.new_tokens.input]["step"])
            self.thawed_later = int(state[module.model.encoder.conv1.weight]["step"])
            loop = trainer.fit_loop.epoch_loop
            self.counted = (trainer.global_step, loop.total_batch_idx + 1, loop._batches_that_stepped)

        def on_train_batch_start(self, trainer, module, *_):
            if trainer.global_step == 5:
                raise RuntimeError("stopped")

    fit(tmp_path / "stage", stop=StopBehind(4))
    found = newest_valid(tmp_path / "stage" / "checkpoints")
    look = Look()
    _, points, _ = fit(tmp_path / "stage", begin=found, stop=look)
    assert look.counted == (4, 4, 4)
    assert (look.moved, look.thawed_later) == (4, 1)
    assert (found.step, progress_of(found)["cursor"]) == (4, [4, 0, 4])
    _, points, _ = fit(tmp_path / "stage", begin=found)
    assert points["val_loss/all", 5]


class Sheet(Callback):
    """What everything that depends on the step has come to before each step: counts, rates, moments."""

    def __init__(self):
        self.lines, self.rates = {}, {}

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.rates[trainer.global_step] = [group["lr"].hex() for group in optimizer.param_groups]

    def on_train_batch_end(self, trainer, module, *_):
        step, loop = trainer.global_step, trainer.fit_loop.epoch_loop
        counted = (loop.total_batch_idx + 1, loop._batches_that_stepped)
        keep = next(one for one in trainer.callbacks if isinstance(one, StageCheckpoint))
        state = trainer.optimizers[0].state
        moved = sorted({int(one["step"]) for one in state.values()})
        self.lines[step] = (counted, keep.cursor_behind[step], moved, self.rates[step - 1])


@pytest.mark.parametrize("forgotten", [None, "moments", "step"])
def test_rate_moments_step_and_place_in_the_order_are_those_of_a_run_that_never_stopped(
    fit, tmp_path, monkeypatch, forgotten
):
    whole, before, after = Sheet(), Sheet(), Sheet()
    fit(tmp_path / "whole", others=[whole])
    assert len({rate for *_, (rate, *_) in whole.lines.values()}) == STEPS, "or none could be mistaken"
    fit(tmp_path / "stopped", stop=StopBehind(3), every=1, others=[before])
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    path = "audio_lm.training.callbacks.checkpoint."
    if forgotten == "moments":
        monkeypatch.setattr(path + "state._load_optimizer", lambda *_: None)
    if forgotten == "step":
        monkeypatch.setattr("audio_lm.common.compat.set_step", lambda trainer, step: None)
    how = {"begin": found, "every": 100, "others": [after]}
    if forgotten == "step":  # there are batches for so many only
        how["stop"] = StopBehind(2)
    fit(tmp_path / "stopped", **how)
    is_same = before.lines | after.lines == whole.lines
    assert is_same == (forgotten is None)
    assert min(after.lines) == (1 if forgotten == "step" else found.step + 1)


class Heard(Callback):
    """How many packs had been heard, and how often each weight had moved, at every save."""

    def __init__(self, save_in_a_step=None):
        self.num_conversations, self.saves, self.save_in_a_step = 0, [], save_in_a_step

    def on_after_backward(self, trainer, module):
        self.num_conversations += 1
        if self.num_conversations == self.save_in_a_step:
            next(one for one in trainer.callbacks if isinstance(one, StageCheckpoint)).save(trainer)

    def on_save_checkpoint(self, trainer, module, checkpoint):
        module = trainer.lightning_module
        moved = trainer.optimizers[0].state.get(module.model.new_tokens.input, {"step": 0})["step"]
        self.saves.append((trainer.global_step, self.num_conversations, int(moved)))


@pytest.mark.parametrize("is_control", [False, True])
def test_callbacks_get_their_state_back(fit, tmp_path, monkeypatch, is_control):
    if is_control:
        monkeypatch.setattr("audio_lm.training.callbacks.checkpoint.load_callback_states", lambda *_: [])
    _, found = fit(tmp_path, stop=StopBehind(4), others=[Sums()]), newest_valid(tmp_path / "checkpoints")
    sums = Sums()
    fit(tmp_path, begin=found, others=[sums])
    assert (sums.steps == list(range(1, STEPS + 1))) is not is_control
    assert (float(sums.sum) == sum(range(1, STEPS + 1))) is not is_control


@pytest.mark.parametrize("is_control", [False, True])
def test_under_accumulation_it_is_saved_only_where_a_step_has_ended(fit, tmp_path, is_control):
    """Three packs a step; also by the clock, at the end, and not between two packs."""
    heard = Heard(save_in_a_step=8 if is_control else None)
    how = {"every": 2, "validate": 3, "keep_last": 9, "others": [heard]}
    fit(tmp_path / "stage", pieces=3, **how)
    ended = [(step, 3 * step, step) for step in (2, 4, 6)]
    assert [one for one in heard.saves if one[1] % 3 == 0] == [*ended, ended[-1]]
    assert [one for one in heard.saves if one[1] % 3] == ([(2, 8, 2)] if is_control else [])
    assert [one.step for one in valid_checkpoints(tmp_path / "stage" / "checkpoints")] == [6, 4, 2]


class SpoilGradients(Callback):
    def __init__(self, steps):
        self.steps = steps

    def on_after_backward(self, trainer, module):
        if trainer.global_step in self.steps:
            module.model.projector.linear.bias.grad[0] = float("nan")


def test_steps_left_out_one_after_the_other_are_counted_on_behind_a_restart(fit, tmp_path, monkeypatch):
    spoil = {"others": [SpoilGradients({0, 2, 3, 4})], "every": 1}
    with pytest.raises(DataError, match=r"step 4: .* 3 steps in a row"):
        fit(tmp_path / "whole", **spoil)
    fit(tmp_path / "stopped", stop=StopBehind(4), **spoil)
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    assert progress_of(found)["nonfinite"] == [3, 2]
    with pytest.raises(DataError, match=r"step 4: .* 3 steps in a row"):
        fit(tmp_path / "stopped", begin=found, **spoil)

    def without(checkpoint):
        return {key: value for key, value in progress_of(checkpoint).items() if key != "nonfinite"}

    monkeypatch.setattr("audio_lm.training.callbacks.checkpoint.state.progress_of", without)
    _, points, _ = fit(tmp_path / "stopped", begin=found, **spoil)
    assert points, "the control, and a checkpoint from before it was counted: it begins at zero"


def test_one_is_written_when_none_was_for_long(fit, tmp_path, monkeypatch):
    monkeypatch.setattr("audio_lm.training.callbacks.checkpoint.CLOCK_STEPS", 2)
    fit(tmp_path / "late", every=100, every_minutes=1e-9, stop=StopBehind(5), keep_last=9)
    assert [one.step for one in valid_checkpoints(tmp_path / "late" / "checkpoints")] == [4, 2]
    fit(tmp_path / "soon", every=100, every_minutes=1e6, stop=StopBehind(5))
    assert [*valid_checkpoints(tmp_path / "soon" / "checkpoints")] == []


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(("before", "after"), [(True, True), (False, True), (True, False)])
def test_in_any_precision_recomputed_or_not_it_is_bit_equal(fit, tmp_path, precision, before, after):
    how = {"dropout": 0.5, "precision": precision, "pieces": 2}
    whole, points, _ = fit(tmp_path / "whole", recomputed=before, **how)
    _, first, _ = fit(tmp_path / "stopped", stop=StopBehind(2), recomputed=before, **how)
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    model, second, _ = fit(tmp_path / "stopped", begin=found, recomputed=after, **how)
    assert_same(model, whole)
    assert first | second == points


def test_low_rank_updates_with_dropout_go_on_alone(fit, tmp_path, vocabulary):
    pytest.importorskip("peft")
    lora = {"language_model": LoraConfig(rank=2, dropout=0.5)}
    parts = PARTS | {"encoder": PartConfig(lr=None), "language_model_lora": PartConfig(lr=1e-2)}

    def made():
        torch.manual_seed(0)
        size = {"num_base": vocabulary.num_base, "num_new": len(vocabulary.new_tokens)}
        return build_model(replace(TINY, lora=lora), **size)

    whole, points, _ = fit(tmp_path / "whole", model=made(), parts=parts)
    fit(tmp_path / "stopped", model=made(), parts=parts, stop=StopBehind(3), every=1)
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    assert b"base_layer" not in (found.path / ".metadata").read_bytes()
    model, again, _ = fit(tmp_path / "stopped", model=made(), parts=parts, begin=found)
    assert_same(model, whole)
    assert again.items() <= points.items()
    assert again


def test_frozen_weights_that_are_others_are_refused(fit, tmp_path, make_model, monkeypatch):
    fit(tmp_path / "stage", stop=StopBehind(2))
    found = newest_valid(tmp_path / "stage" / "checkpoints")
    digests = "audio_lm.training.callbacks.checkpoint.state.frozen_digests"
    monkeypatch.setattr(digests, lambda *_: {"language_model": "another"})
    with pytest.raises(CheckpointError, match=r"frozen weights of \['language_model'\] are not those"):
        fit(tmp_path / "stage", begin=found)


@pytest.mark.parametrize(
    "parts",
    [
        PARTS | {"encoder": PartConfig(lr=None)},
        PARTS | {"language_model": PartConfig(lr=1e-3)},
        {part: PartConfig(lr=None) for part in PARTS} | {"language_model": PartConfig(lr=1e-3)},
    ],
)
def test_a_stage_with_other_parts_is_refused(fit, tmp_path, parts):
    fit(tmp_path / "stage", stop=StopBehind(2))
    found = newest_valid(tmp_path / "stage" / "checkpoints")
    with pytest.raises(CheckpointError, match="refused because other parameters are trained"):
        fit(tmp_path / "stage", begin=found, parts=parts)


def test_a_last_checkpoint_that_cannot_be_written_is_an_error(fit):
    with pytest.raises(CheckpointError, match="NOT saved"):
        fit(Path("/proc/nope"), every=100)
