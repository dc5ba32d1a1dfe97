from functools import partial

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers.logger import Logger
from torch.utils.data import DataLoader

from audio_lm.common.errors import DataError
from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.param_groups import learning_rates
from audio_lm.training.schedules import rate_factor
from audio_lm.training.step import StepLoss, TrainStep

ALL = {"encoder": 1e-3, "projector": 1e-3, "new_tokens": 1e-3, "language_model": 1e-3}


@pytest.fixture
def packs(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    tasks = ["asr", "sgc", "srwt-en", "lid"]
    cuts = [
        with_example(cut, maker.example(cut, task, i))
        for i, (cut, task) in enumerate(zip(make_cuts(4), tasks, strict=True))
    ]
    return [Collator()([cut]) for cut in cuts], Collator()(cuts)


def module_of(model, lr_of_part, *, clip=0.0, steps=10, from_step=0, kind="constant", warmup_steps=0):
    parts = {
        name: PartConfig(lr=lr, from_step=from_step if name == "encoder" else 0)
        for name, lr in lr_of_part.items()
    }
    return NextTokenModule(
        model,
        rate_of=learning_rates([name for name, _ in model.named_parameters()], parts),
        factor=partial(rate_factor, kind=kind, steps=steps, warmup_steps=warmup_steps, floor=0.0),
        optimizer=OptimizerConfig(weight_decay=0.0, clip=clip),
        log_every=1,
    )


def fit(module, steps_of_packs, tmp_path, *, logger=False, callbacks=()):
    trainer = Trainer(
        accelerator="cpu",
        max_steps=len(steps_of_packs),
        max_epochs=-1,
        logger=logger,
        log_every_n_steps=1,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, DataLoader(steps_of_packs, batch_size=None, shuffle=False, collate_fn=None))
    return trainer


def test_accumulated_packs_train_like_one_large_pack(packs, make_model, tmp_path):
    separate_packs, large_pack = packs
    with_large_pack, with_separate_packs = make_model(), make_model()
    fit(module_of(with_large_pack, ALL), [(large_pack,)] * 2, tmp_path)
    fit(module_of(with_separate_packs, ALL), [tuple(separate_packs)] * 2, tmp_path)
    for (name, a), (_, b) in zip(
        with_large_pack.named_parameters(), with_separate_packs.named_parameters(), strict=True
    ):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4, msg=name)


def test_one_large_pack_has_the_loss_and_gradients_of_separate_packs(packs, make_model):
    separate_packs, large_pack = packs
    with_large_pack, with_separate_packs = make_model(), make_model()
    loss_of_large_pack = with_large_pack.loss(large_pack, weight=1 / large_pack.num_learned)
    pieces = [with_separate_packs.loss(pack, weight=1 / large_pack.num_learned) for pack in separate_packs]
    losses = torch.cat([piece.losses for piece in pieces])
    torch.testing.assert_close(loss_of_large_pack.losses, losses, atol=1e-5, rtol=1e-5)
    for loss in (loss_of_large_pack, *pieces):
        loss.total.backward()
    for (name, a), (_, b) in zip(
        with_large_pack.named_parameters(), with_separate_packs.named_parameters(), strict=True
    ):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("frozen", sorted(ALL))
def test_a_frozen_part_has_no_gradient_and_does_not_move(packs, make_model, tmp_path, frozen):
    model = make_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(module_of(model, ALL | {frozen: None}), [(packs[1],)] * 2, tmp_path)
    for name, parameter in model.named_parameters():
        if name.startswith(f"{frozen}."):
            assert parameter.grad is None, name
            assert torch.equal(parameter, before[name]), name
    moved = {
        name.partition(".")[0]
        for name, value in model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == set(ALL) - {frozen}


def test_a_part_is_unfrozen_at_its_step(packs, make_model, tmp_path):
    model = make_model()
    before = model.encoder.conv1.weight.clone()
    fit(module_of(model, ALL, from_step=2), [(packs[1],)] * 2, tmp_path)
    assert torch.equal(model.encoder.conv1.weight, before)
    fit(module_of(model, ALL, from_step=1), [(packs[1],)] * 2, tmp_path)
    assert not torch.equal(model.encoder.conv1.weight, before)


def test_losses_are_logged_per_task_and_averaged_over_tokens(packs, make_model, tmp_path):
    _, large_pack = packs
    model = make_model()
    with torch.no_grad():
        losses = model.loss(large_pack).losses
    trainer = fit(module_of(model, ALL), [(large_pack,)], tmp_path)
    logged = trainer.callback_metrics
    assert {f"train_loss/{task}" for task in ("asr", "sgc", "srwt-en", "lid", "all")} <= set(logged)
    torch.testing.assert_close(float(logged["train_loss/all"]), float(losses.mean()), atol=1e-5, rtol=1e-5)
    of_lid = losses[large_pack.task_index == large_pack.tasks.index("lid")]
    torch.testing.assert_close(float(logged["train_loss/lid"]), float(of_lid.mean()), atol=1e-5, rtol=1e-5)


def test_the_model_overfits_a_pack_that_is_repeated(packs, make_model, tmp_path):
    model = make_model()
    pack = packs[1]
    with torch.no_grad():
        before = model.loss(pack).losses.mean()
    fit(module_of(model, dict.fromkeys(ALL, 1e-2), clip=1.0), [(pack,)] * 30, tmp_path)
    with torch.no_grad():
        after = model.loss(pack).losses.mean()
    assert after < 0.7 * before


class InfiniteGradients(Callback):
    """Makes the gradients of some steps infinite, and records optimizer steps and weights."""

    def __init__(self, steps):
        self.steps, self.states = steps, []

    def on_after_backward(self, trainer, module):
        if trainer.global_step in self.steps:
            module.model.projector.linear.bias.grad[0] = float("inf")

    def on_train_batch_end(self, trainer, module, *_):
        steps = {float(state["step"]) for state in trainer.optimizers[0].state.values()}
        self.states.append((steps, module.model.projector.linear.weight.detach().clone()))


def fit_with_infinite_gradients(module, pack, steps, num_steps, tmp_path):
    watch = InfiniteGradients(steps)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=num_steps,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[watch],
    )
    try:
        trainer.fit(module, DataLoader([(pack,)] * num_steps, batch_size=None, shuffle=False))
    finally:
        watch.step = trainer.global_step
    return trainer, watch


def test_a_step_with_a_nonfinite_gradient_is_skipped_and_counted(packs, make_model, tmp_path):
    trainer, watch = fit_with_infinite_gradients(module_of(make_model(), ALL), packs[1], {1}, 3, tmp_path)
    first, second, third = watch.states
    assert first[0] == second[0] == {1.0}
    assert third[0] == {2.0}
    assert torch.equal(first[1], second[1])
    assert not torch.equal(second[1], third[1])
    assert trainer.global_step == 3
    assert trainer.callback_metrics["nonfinite_steps"] == 1.0
    assert trainer.callback_metrics["train_loss/all"].isfinite()


def test_nonfinite_steps_in_a_row_stop_the_run_and_save_the_packs_of_the_last(packs, make_model, tmp_path):
    saved = []
    module = module_of(make_model(), ALL)
    module.keep = lambda step, packs: saved.append((step, len(packs))) or tmp_path / "file"
    with pytest.raises(DataError, match=r"step 4: .*3 steps in a row.*audio-lm replay .*file"):
        fit_with_infinite_gradients(module, packs[1], {0, 2, 3, 4}, 6, tmp_path)
    assert saved == [(4, 1)]
    other = module_of(make_model(), ALL)
    fit_with_infinite_gradients(other, packs[1], {0, 2, 3, 5}, 6, tmp_path)  # never three in a row
    assert other.num_nonfinite == 4


class HalvedModule(TrainStep):
    """Another objective: half the loss, divided by the number of conversations."""

    def compute_loss(self, pack, weight=1.0):
        loss = self.model.loss(pack, weight=weight / 2)
        return StepLoss(loss.total, {"asr": [float(loss.losses.sum()) / 2, len(pack)]})

    def num_counted(self, pack):
        return len(pack)


class RecordGradient(Callback):
    """Records a gradient of the last step."""

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.of_projector = module.model.projector.linear.bias.grad.clone()


def test_another_objective_overrides_loss_and_divisor(packs, make_model, tmp_path):
    pack, module = packs[1], module_of(make_model(), ALL)
    settings = {name: getattr(module, name) for name in ("rate_of", "factor", "optimizer", "log_every")}
    full, half = RecordGradient(), RecordGradient()
    first = fit(module, [(pack,)], tmp_path, callbacks=[full])
    second = fit(HalvedModule(make_model(), **settings), [(pack,)], tmp_path, callbacks=[half])
    ratio = pack.num_learned / (2 * len(pack))
    torch.testing.assert_close(half.of_projector, full.of_projector * ratio)
    values = [float(trainer.callback_metrics["train_loss/all"]) for trainer in (second, first)]
    assert values[0] == pytest.approx(values[1] * ratio)


def test_lightnings_learning_rate_monitor_logs_the_rate_of_every_step(packs, make_model, tmp_path):
    module = module_of(make_model(), {**ALL, "encoder": 4e-3}, steps=8, kind="linear", warmup_steps=2)
    rates = RecordingLogger()
    callbacks, steps = [LearningRateMonitor("step")], [(packs[1],)] * 4
    fit(module, steps, tmp_path, logger=rates, callbacks=callbacks)
    for step in range(4):
        logged = next(values for at, values in rates.points if at == step and "lr" in str(values))
        expected = 4e-3 * rate_factor(step, kind="linear", steps=8, warmup_steps=2, floor=0.0)
        assert max(value for name, value in logged.items() if "lr" in name) == pytest.approx(expected)


class RecordingLogger(Logger):
    """Records the logged metrics."""

    name = version = ""

    def __init__(self):
        super().__init__()
        self.points = []

    def log_metrics(self, metrics, step=None):
        self.points.append((step, dict(metrics)))

    def log_hyperparams(self, params, *args, **kwargs):
        pass
