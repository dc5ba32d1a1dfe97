"""Data parallelism on two ranks, in two processes."""

import json
import math
import os
import signal

import pytest
import torch
from lhotse.utils import fastcopy
from lightning import Callback, Trainer
from torch.utils.data import DataLoader

from audio_lm.checkpoints.discovery import newest_valid
from audio_lm.common.errors import DataError
from audio_lm.data.audio.faults import load_waves_or_fault
from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.fault_tolerance.signals import SIGNALS
from audio_lm.training.callbacks.bad_audio import BadAudioMonitor
from audio_lm.training.callbacks.checkpoint import StageCheckpoint
from audio_lm.training.callbacks.preemption import PreemptionCallback
from audio_lm.training.callbacks.run_guard import LocalGuard
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.distributed import (
    TokenSumDDPStrategy,
    all_gather_object,
    all_reduce_sum,
    clip_gradients,
    gradient_norm,
    sum_gradients,
)
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.param_groups import learning_rates
from tests.forked import on_ranks, together

PARTS = {part: PartConfig(lr=1e-4) for part in ("encoder", "projector", "new_tokens", "language_model")}
STEPS = 3


def on_two_ranks(work):
    """Results of ``work(rank)`` in two processes; both must finish."""
    return tuple(on_ranks(2, together(work)))


class RecordLosses(Callback):
    def __init__(self):
        self.losses, self.is_finite = [], True

    def on_train_batch_end(self, trainer, *_):
        self.losses.append(float(trainer.callback_metrics["train_loss/all"]))


class RecordingModule(NextTokenModule):
    """Records the gradients that the optimizer gets."""

    def on_before_optimizer_step(self, optimizer):
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        self.is_finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
        self.norm = float(torch.stack([gradient.norm() for gradient in gradients]).norm())


def fit(model, packs, folder, *, num_ranks=1, callbacks=()):
    """Losses, number of steps, norm of the last gradient and weights after some steps on the same packs."""
    torch.set_num_threads(1)
    module = RecordingModule(
        model,
        rate_of=learning_rates([name for name, _ in model.named_parameters()], PARTS),
        factor=lambda step: 1.0,
        optimizer=OptimizerConfig(weight_decay=0.0, clip=1.0),
        log_every=1,
    )
    recorder = RecordLosses()
    trainer = Trainer(
        accelerator="cpu",
        devices=num_ranks,
        strategy=TokenSumDDPStrategy() if num_ranks > 1 else "auto",
        use_distributed_sampler=False,
        max_steps=STEPS,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[recorder, *callbacks],
    )
    trainer.fit(module, DataLoader([tuple(packs)] * STEPS, batch_size=None))
    assert module.is_finite
    weights = {name: value.detach().clone().numpy() for name, value in model.named_parameters()}
    return recorder.losses, trainer.global_step, module.norm, weights


@pytest.fixture
def conversations(make_cuts, vocabulary):
    """Four conversations with a clip each."""
    maker = ExampleMaker(vocabulary, "tags")
    return [with_example(cut, maker.example(cut, "asr", i)) for i, cut in enumerate(make_cuts(4))]


def unreadable_pack(cuts):
    """A pack whose clips cannot be read: silence without learned tokens."""
    return Collator(load=load_waves_or_fault, unreadable=dict.fromkeys((cut.id for cut in cuts), "gone"))(
        cuts
    )


def text_only_pack(cuts, vocabulary):
    """A pack of text only."""
    maker, rows = ExampleMaker(vocabulary, "tags"), []
    for cut in cuts:
        row = fastcopy(cut, recording=None)
        row.supervisions[0].custom = {"places": [["first two", 10]]}
        rows.append(with_example(row, maker.example(row, "asr")))
    pack = Collator()(rows)
    assert not pack.num_samples
    return pack


def assert_same_training(first, second):
    """Compare steps, losses, gradient norms and weights, up to the order of sums."""
    (losses, steps, norm, weights), (other_losses, other_steps, other_norm, other_weights) = first, second
    assert steps == other_steps == STEPS
    assert losses == pytest.approx(other_losses, abs=1e-5)
    assert norm == pytest.approx(other_norm, rel=1e-4)
    for name, value in weights.items():
        assert abs(value - other_weights[name]).max() < 1e-5, name


def test_a_rank_with_unreadable_audio_does_not_block_and_adds_no_tokens(conversations, make_model, tmp_path):
    packs = [Collator()(conversations[:2]), unreadable_pack(conversations[2:])]
    assert packs[1].num_learned == 0
    first, second = on_two_ranks(lambda number: fit(make_model(), [packs[number]], tmp_path, num_ranks=2))
    assert_same_training(first, second)
    assert_same_training(first, fit(make_model(), packs[:1], tmp_path))


def test_a_rank_without_audio_does_not_block_and_its_text_is_trained_on(
    conversations, make_model, vocabulary, tmp_path
):
    packs = [Collator()(conversations[:2]), text_only_pack(conversations[2:], vocabulary)]
    assert packs[1].num_learned > 0
    first, second = on_two_ranks(lambda number: fit(make_model(), [packs[number]], tmp_path, num_ranks=2))
    assert_same_training(first, second)
    assert_same_training(first, fit(make_model(), packs, tmp_path))


def test_two_ranks_train_like_one_with_the_packs_of_both(conversations, make_model, tmp_path):
    packs = [Collator()(conversations[:1]), Collator()(conversations[1:])]
    assert (
        packs[0].num_learned != packs[1].num_learned or packs[0].token_ids.shape != packs[1].token_ids.shape
    )
    first, second = on_two_ranks(lambda number: fit(make_model(), [packs[number]], tmp_path, num_ranks=2))
    assert_same_training(first, second)
    assert_same_training(first, fit(make_model(), packs, tmp_path))
    alone = fit(make_model(), packs[:1], tmp_path)
    assert abs(alone[0][0] - first[0][0]) > 1e-4  # or the comparison would show nothing


def test_all_ranks_stop_for_the_bad_audio_of_one_and_write_it_once(conversations, make_model, tmp_path):
    packs = [Collator()(conversations[:2]), unreadable_pack(conversations[2:])]

    def work(number):
        monitor = BadAudioMonitor(tmp_path / "stage", max_bad_fraction=0.003)
        with pytest.raises(DataError, match="4 of 8 clips could not be used"):
            fit(make_model(), [packs[number]], tmp_path, num_ranks=2, callbacks=[monitor])
        return monitor.bad_by_source

    first, second = on_two_ranks(work)
    assert first == second
    (path,) = (tmp_path / "stage").iterdir()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 1, 2, 2]


class SignalAtStepOne(Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_to_one_rank_stops_both_after_the_same_step_with_a_checkpoint(
    conversations, make_model, tmp_path
):
    packs = [Collator()([conversation]) for conversation in conversations[:2]]

    def work(number):
        keep = StageCheckpoint(
            tmp_path,
            steps=STEPS,
            every=100,
            cursor_behind={2: (2, 0, 2), 3: (3, 0, 3)},
        )
        SIGNALS.received = 0
        SIGNALS.listen()
        stop = PreemptionCallback(keep, LocalGuard())
        callbacks = [keep, stop, *([SignalAtStepOne()] if number else [])]
        _, steps, _, _ = fit(make_model(), [packs[number]], tmp_path, num_ranks=2, callbacks=callbacks)
        return steps, stop.received

    assert on_two_ranks(work) == ((2, (signal.SIGTERM, 1)),) * 2
    assert json.loads((tmp_path / "status.json").read_text())["step"] == 2
    assert newest_valid(tmp_path / "checkpoints").manifest.world_size == 2


def test_values_are_summed_and_objects_gathered_over_ranks():
    assert (all_reduce_sum(1.5, 2), all_gather_object("x")) == ([1.5, 2.0], ["x"])
    both = on_two_ranks(lambda number: (all_reduce_sum(number, 2.0), all_gather_object(f"rank {number}")))
    assert both[0] == both[1] == ([1.0, 4.0], ["rank 0", "rank 1"])


def _summed_gradients(number):
    first, second, third, frozen = (torch.nn.Parameter(torch.zeros(3)) for _ in range(4))
    first.grad = torch.full((3,), 1.0 + number)
    if number == 0:
        second.grad = torch.ones(3)
    frozen.requires_grad_(False)
    sum_gradients([first, second, third, frozen])
    return [
        None if parameter.grad is None else parameter.grad.tolist()
        for parameter in (first, second, third, frozen)
    ]


def test_gradients_of_one_rank_are_summed_on_all_and_unused_parameters_have_none():
    assert on_two_ranks(_summed_gradients) == ([[3.0] * 3, [1.0] * 3, None, None],) * 2


def test_the_norm_is_that_of_torch_and_not_finite_if_one_value_is_not():
    parameters = [torch.nn.Parameter(torch.randn(size)) for size in ((3, 4), (7,), (0, 2))]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    norm = float(torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters]))
    assert float(gradient_norm(parameters)) == pytest.approx(norm, rel=1e-6)
    clip_gradients(parameters, gradient_norm(parameters), norm * 2)
    assert float(gradient_norm(parameters)) == pytest.approx(norm, rel=1e-6)
    clip_gradients(parameters, gradient_norm(parameters), norm / 2)
    assert float(gradient_norm(parameters)) == pytest.approx(norm / 2, rel=1e-5)
    parameters[1].grad[3] = float("inf")
    assert not math.isfinite(gradient_norm(parameters))
