"""Whole training steps on the meta device, which has no values: whatever reads one raises.

It takes the branches of a GPU, attention by variable length among them, and shows what would be built on the CPU.
"""

import itertools
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy

from audio_lm.data.collate import Collator
from audio_lm.data.config import SpecAugmentConfig
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.model.build import build_model
from audio_lm.model.config import ProjectorConfig
from audio_lm.model.encoders.layout_index import flat_index
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.dpo import DpoModule
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.objective_config import AnswerRule, DpoConfig
from audio_lm.training.param_groups import learning_rates
from audio_lm.training.schedules import rate_factor
from audio_lm.training.step import StepLoss
from tests.conftest import TINY
from tests.training.host_reads import HostReads

PARTS = {name: PartConfig(lr=1e-3) for name in ("encoder", "projector", "new_tokens", "language_model")}
META = torch.device("meta")


class MetaStrategy(SingleDeviceStrategy):
    """Trains on the meta device."""

    def __init__(self):
        super().__init__(device=META)

    def setup_environment(self):
        """No accelerator has this device."""

    def teardown(self):
        """Its weights cannot be copied to the CPU."""


class CountSteps(Callback):
    """Counts reads and constructors in all steps but the first, which fills caches."""

    def __init__(self, num_steps):
        self.num_steps, self.reads, self.context = num_steps, HostReads(), None

    def on_train_batch_end(self, trainer, *_):
        if self.context is None:
            self.context = self.reads.active()
            self.context.__enter__()
        elif trainer.global_step == self.num_steps:
            self.context.__exit__(None, None, None)


class Packs:
    """Endless packs without a length."""

    def __init__(self, *packs):
        self.packs = packs

    def __iter__(self):
        return itertools.repeat(self.packs)


@pytest.fixture
def _meta_is_a_device(monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(
        sys.modules["torch.optim.adam"], "_device_dtype_check_for_fused", lambda *_, **__: None
    )


def train(module, packs, num_steps=3):
    count = CountSteps(num_steps)
    trainer = Trainer(
        accelerator="cpu",
        strategy=MetaStrategy(),
        max_steps=num_steps,
        max_epochs=-1,
        logger=False,
        callbacks=[count],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, Packs(*packs))
    assert trainer.global_step == num_steps
    return count.reads


def settings_of(model, kind="adamw"):
    return {
        "rate_of": learning_rates([name for name, _ in model.named_parameters()], PARTS),
        "factor": partial(rate_factor, kind="constant", steps=10, warmup_steps=0, floor=0.0),
        "optimizer": OptimizerConfig(kind=kind, clip=1.0),
        "log_every": 100,
    }


@pytest.fixture
def packs(make_cuts, vocabulary):
    """Two packs with clips, masks and layout, and one without clips."""
    maker, collate = (
        ExampleMaker(vocabulary, "tags"),
        Collator(policy=SpecAugmentConfig(), layout_of=flat_index),
    )
    cuts = [
        with_example(cut, maker.example(cut, task, number))
        for number, (cut, task) in enumerate(zip(make_cuts(3), ("asr", "sgc", "lid"), strict=True))
    ]
    return [collate(cuts), collate(cuts[:1])]


@pytest.mark.usefixtures("_meta_is_a_device")
@pytest.mark.parametrize(
    ("kind", "projector"),
    [
        ("adamw", ProjectorConfig()),
        ("muon", ProjectorConfig()),
        ("adamw", ProjectorConfig(kind="stacked", factor=2)),
    ],
)
def test_a_step_reads_nothing_and_builds_nothing_on_the_cpu(packs, vocabulary, kind, projector):
    config = replace(TINY, projector=projector)
    model = build_model(config, num_base=vocabulary.num_base, num_new=len(vocabulary.new_tokens)).bfloat16()
    if projector.factor > 1:
        # Half as many audio tokens, at positions that exist.
        counts = [model.encoder.token_count.tokens_in(count) for count in packs[0].num_samples]
        kept = sum(-(-count // projector.factor) for count in counts)
        packs = [replace(packs[0], audio_index=packs[0].audio_index[:kept])]
    reads = train(NextTokenModule(model, **settings_of(model, kind)), packs)
    assert not reads.found
    # A projector of groups copies its positions from pinned memory.
    is_grouped = projector.factor > 1
    assert all(is_grouped and "transfer.py" in name for name in reads.built), reads.built


@pytest.mark.usefixtures("_meta_is_a_device")
def test_a_step_of_preferences_reads_nothing(make_cuts, make_model, vocabulary):
    maker = ExampleMaker(vocabulary, "chatml", rule=AnswerRule(is_paired=True))
    cuts = make_cuts(2)
    for cut in cuts:
        question = {"role": "user", "content": [{"audio": 1}, {"text": "What do you hear?"}]}
        answer = {"role": "assistant", "content": [{"text": "two"}]}
        cut.supervisions[0].custom |= {"conversation": [question, answer], "rejected": "zero one"}
    examples = [
        replace(maker.example(cut, "chat", number), reference=(-1.0, -2.0)) for number, cut in enumerate(cuts)
    ]
    pack = Collator(layout_of=flat_index)(list(map(with_example, cuts, examples)))
    model = make_model().bfloat16()
    reads = train(DpoModule(model, config=DpoConfig(), **settings_of(model)), [pack])
    assert (reads.found, reads.built) == ({}, {})


class ReadingModule(NextTokenModule):
    """Objective that reads its loss."""

    def compute_loss(self, pack, weight=1.0):
        loss = super().compute_loss(pack, weight)
        return StepLoss(loss.total * float(loss.total), loss.sums)


@pytest.mark.usefixtures("_meta_is_a_device")
def test_an_objective_that_reads_its_loss_fails(packs, make_model):
    model = make_model().bfloat16()
    with pytest.raises(RuntimeError, match="item"):
        train(ReadingModule(model, **settings_of(model)), packs)


@pytest.mark.usefixtures("_meta_is_a_device")
def test_without_a_layout_the_encoder_builds_it(packs, make_model):
    model = make_model().bfloat16()
    reads = train(NextTokenModule(model, **settings_of(model)), [replace(packs[0], layout=None)])
    assert any("transfer.py" in name for name in reads.built), "the control"
