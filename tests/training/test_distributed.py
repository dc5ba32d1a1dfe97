"""Two ranks that really talk to each other, in two processes."""

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
    gradient_norm,
    scale_gradients,
    sum_gradients,
)
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.param_groups import learning_rates
from tests.forked import on_ranks, together

PARTS = {part: PartConfig(lr=1e-4) for part in ("encoder", "projector", "new_tokens", "language_model")}
STEPS = 3


def on_two_ranks(work):
    """What ``work(rank)`` gives on each of two processes; both have to come to their end."""
    return tuple(on_ranks(2, together(work)))


class Watch(Callback):
    def __init__(self):
        self.losses, self.is_finite = [], True

    def on_train_batch_end(self, trainer, *_):
        self.losses.append(float(trainer.callback_metrics["train_loss/all"]))


class Watched(NextTokenModule):
    """Looks at the gradients as the optimizer gets them."""

    def on_before_optimizer_step(self, optimizer):
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        self.is_finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
        self.norm = float(torch.stack([gradient.norm() for gradient in gradients]).norm())


def fit(model, packs, folder, *, num_ranks=1, callbacks=()):
    """Losses, number of steps, norm of the last gradients and weights after a few steps on the same packs."""
    torch.set_num_threads(1)
    module = Watched(
        model,
        rate_of=learning_rates([name for name, _ in model.named_parameters()], PARTS),
        factor=lambda step: 1.0,
        optimizer=OptimizerConfig(weight_decay=0.0, clip=1.0),
        log_every=1,
    )
    watch = Watch()
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
        callbacks=[watch, *callbacks],
    )
    trainer.fit(module, DataLoader([tuple(packs)] * STEPS, batch_size=None))
    assert module.is_finite
    weights = {name: value.detach().clone().numpy() for name, value in model.named_parameters()}
    return watch.losses, trainer.global_step, module.norm, weights


@pytest.fixture
def conversations(make_cuts, vocabulary):
    """Four with a clip each."""
    maker = ExampleMaker(vocabulary, "tags")
    return [with_example(cut, maker.example(cut, "asr", i)) for i, cut in enumerate(make_cuts(4))]


def unreadable(cuts):
    """Packs whose clips cannot be read: silence is heard and nothing learned."""
    return Collator(load=load_waves_or_fault, unreadable=dict.fromkeys((cut.id for cut in cuts), "gone"))(
        cuts
    )


def without_audio(cuts, vocabulary):
    """A pack of nothing but text."""
    maker, rows = ExampleMaker(vocabulary, "tags"), []
    for cut in cuts:
        row = fastcopy(cut, recording=None)
        row.supervisions[0].custom = {"places": [["one two", 10]]}
        rows.append(with_example(row, maker.example(row, "asr")))
    pack = Collator()(rows)
    assert not pack.num_samples
    return pack


def assert_the_same(one, other):
    """Equal steps and losses; equal weights as far as another order of sums allows."""
    (losses, steps, norm, weights), (other_losses, other_steps, other_norm, other_weights) = one, other
    assert steps == other_steps == STEPS
    assert losses == pytest.approx(other_losses, abs=1e-5)
    assert norm == pytest.approx(other_norm, rel=1e-4)
    for name, value in weights.items():
        assert abs(value - other_weights[name]).max() < 1e-5, name


def test_a_rank_that_can_read_nothing_holds_nobody_up_and_counts_nothing(conversations, make_model, tmp_path):
    packs = [Collator()(conversations[:2]), unreadable(conversations[2:])]
    assert packs[1].num_learned == 0
    one, other = on_two_ranks(lambda number: fit(make_model(), [packs[number]], tmp_path, num_ranks=2))
    assert_the_same(one, other)
    assert_the_same(one, fit(make_model(), packs[:1], tmp_path))


def test_a_rank_without_audio_holds_nobody_up_and_its_text_counts(
    conversations, make_model, vocabulary, tmp_path
):
    packs = [Collator()(conversations[:2]), without_audio(conversations[2:], vocabulary)]
    assert packs[1].num_learned > 0
    one, other = on_two_ranks(lambda number: fit(make_model(), [packs[number]], tmp_path, num_ranks=2))
    assert_the_same(one, other)
    assert_the_same(one, fit(make_model(), packs, tmp_path))


def test_two_ranks_learn_like_one_with_the_packs_of_both(conversations, make_model, tmp_path):
    packs = [Collator()(conversations[:1]), Collator()(conversations[1:])]
    assert (
        packs[0].num_learned != packs[1].num_learned or packs[0].token_ids.shape != packs[1].token_ids.shape
    )
    one, other = on_two_ranks(lambda number: fit(make_model(), [packs[number]], tmp_path, num_ranks=2))
    assert_the_same(one, other)
    assert_the_same(one, fit(make_model(), packs, tmp_path))
    alone = fit(make_model(), packs[:1], tmp_path)
    assert abs(alone[0][0] - one[0][0]) > 1e-4  # otherwise this could not fail


def test_ranks_stop_together_over_the_faults_of_one_and_write_them_once(conversations, make_model, tmp_path):
    packs = [Collator()(conversations[:2]), unreadable(conversations[2:])]

    def work(number):
        quarantine = BadAudioMonitor(tmp_path / "stage", max_bad_fraction=0.003)
        with pytest.raises(DataError, match="4 of 8 clips could not be used"):
            fit(make_model(), [packs[number]], tmp_path, num_ranks=2, callbacks=[quarantine])
        return quarantine.bad_by_source

    one, other = on_two_ranks(work)
    assert one == other
    (path,) = (tmp_path / "stage").iterdir()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 1, 2, 2]


class SignalAtTheFirst(Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_to_one_rank_stops_both_at_the_same_step_with_a_checkpoint(
    conversations, make_model, tmp_path
):
    packs = [Collator()([one]) for one in conversations[:2]]

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
        callbacks = [keep, stop, *([SignalAtTheFirst()] if number else [])]
        _, steps, _, _ = fit(make_model(), [packs[number]], tmp_path, num_ranks=2, callbacks=callbacks)
        return steps, stop.received

    assert on_two_ranks(work) == ((2, (signal.SIGTERM, 1)),) * 2
    assert json.loads((tmp_path / "status.json").read_text())["step"] == 2
    assert newest_valid(tmp_path / "checkpoints").manifest.world_size == 2


def test_values_are_summed_and_things_are_gathered_over_ranks():
    assert (all_reduce_sum(1.5, 2), all_gather_object("x")) == ([1.5, 2.0], ["x"])
    both = on_two_ranks(lambda number: (all_reduce_sum(number, 2.0), all_gather_object(f"rank {number}")))
    assert both[0] == both[1] == ([1.0, 4.0], ["rank 0", "rank 1"])


def _gradients(number):
    first, second, third, frozen = (torch.nn.Parameter(torch.zeros(3)) for _ in range(4))
    first.grad = torch.full((3,), 1.0 + number)
    if number == 0:
        second.grad = torch.ones(3)
    frozen.requires_grad_(False)
    sum_gradients([first, second, third, frozen])
    return [None if one.grad is None else one.grad.tolist() for one in (first, second, third, frozen)]


def test_what_one_rank_has_used_is_summed_on_all_and_what_none_has_is_left_alone():
    assert on_two_ranks(_gradients) == ([[3.0] * 3, [1.0] * 3, None, None],) * 2


def test_the_norm_is_that_of_torch_and_one_value_that_is_not_finite_is_noticed():
    parameters = [torch.nn.Parameter(torch.randn(size)) for size in ((3, 4), (7,), (0, 2))]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    norm = float(torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters]))
    assert gradient_norm(parameters) == pytest.approx(norm, rel=1e-6)
    scale_gradients(parameters, 0.5)
    assert gradient_norm(parameters) == pytest.approx(norm / 2, rel=1e-6)
    parameters[1].grad[3] = float("inf")
    assert not math.isfinite(gradient_norm(parameters))
