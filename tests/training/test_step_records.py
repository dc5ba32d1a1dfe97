"""Results of steps stay on the device: read together later, with the same numbers, and the optimizer skips by itself."""

import itertools
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning import Callback, Trainer

from audio_lm.common.errors import DataError
from audio_lm.model.encoders.layout_index import flat_index
from audio_lm.training import distributed, step
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.losses import TaskSums, read_together, sums_by_task
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.optimizers import build_optimizer, skip_next_step_if
from audio_lm.training.param_groups import learning_rates
from audio_lm.training.schedules import rate_factor
from audio_lm.training.step_records import StepRecord, StepRecords, counted_sums
from tests.devices import DEVICES
from tests.training.host_reads import HostReads
from tests.training.tiny import PACKS, tiny

PARTS = {name: PartConfig(lr=1e-3) for name in ("encoder", "projector", "new_tokens", "language_model")}


def sums_of(loss, count=2):
    return sums_by_task(torch.full((count,), loss), torch.zeros(count, dtype=torch.long), ("asr", "lid"))


def test_records_are_read_in_order_and_all_at_once(monkeypatch):
    records, copies = StepRecords(), []
    for number, norm in enumerate((1.0, math.nan, 2.0)):
        record = StepRecord(
            number, (), torch.tensor(norm), [sums_of(0.5), sums_of(1.0)], [{"x": sums_of(3.0)}]
        )
        records.append(record)
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: copies.append(tensor.shape) or tolist(tensor))
    read = list(records.read())
    assert [(record.step, is_finite) for record, is_finite in read] == [(0, True), (1, False), (2, True)]
    assert read[0][0].sums == [{"asr": (1.0, 2.0), "lid": (0.0, 0.0)}, {"asr": (2.0, 2.0), "lid": (0.0, 0.0)}]
    assert read[0][0].measures == [{"x": {"asr": (6.0, 2.0), "lid": (0.0, 0.0)}}]
    assert len(copies) == 2, "norms, and all sums"
    assert list(records.read()) == []


def test_sums_of_a_skipped_step_are_zeros_on_the_device():
    sums = [sums_of(0.5), {"asr": (1.0, 1.0)}]
    assert counted_sums(sums, torch.tensor(1.0)) == sums
    assert counted_sums(sums[:1], torch.tensor(math.nan)) == [{"asr": (0.0, 0.0), "lid": (0.0, 0.0)}]


def test_sums_are_read_at_the_first_access_only():
    sums = TaskSums(["asr"], torch.ones(2, 1))
    assert not sums.is_read
    assert dict(sums) == {"asr": (1.0, 1.0)}
    sums.values_2C += 1
    read_together([sums])
    assert (sums["asr"], len(sums), repr(sums)) == ((1.0, 1.0), 1, "TaskSums({'asr': (1.0, 1.0)})")


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_optimizer_skips_a_step_by_itself_to_the_last_bit(device, kind):
    """Steps 1 and 3 are skipped; the others are those of a run without them."""

    def run(steps):
        model = tiny("all").to(device)
        rates = learning_rates([name for name, _ in model.named_parameters()], PARTS)
        optimizer = build_optimizer(model, rates, OptimizerConfig(kind=kind))
        for number in steps:
            generator = torch.Generator().manual_seed(number)
            for parameter in model.parameters():
                value = torch.randn(parameter.shape, generator=generator).to(device)
                parameter.grad = value * (math.nan if number in (1, 3) else 1.0)
            skip_next_step_if(torch.tensor(number in (1, 3), device=device), optimizer)
            optimizer.step()
        return model, optimizer

    (skipping, one), (without, other) = run(range(5)), run((0, 2, 4))
    for (name, ours), theirs in zip(skipping.named_parameters(), without.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    for ours, theirs in zip(one.state.values(), other.state.values(), strict=True):
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


class Watch(Callback):
    """Counts reads of all steps but the first and the logged ones, sets gradients to NaN, records weights."""

    def __init__(self, device, nonfinite, log_every):
        self.device, self.nonfinite, self.log_every = device, nonfinite, log_every
        self.reads, self.weights, self.context = HostReads(), [], None

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step and (trainer.global_step + 1) % self.log_every:
            self.context = self.reads.active()
            self.context.__enter__()
            if self.device == "cuda":
                torch.cuda.set_sync_debug_mode("error")

    def on_after_backward(self, trainer, module):
        if trainer.global_step in self.nonfinite:
            module.model.projector.linear.bias.grad.fill_(math.nan)

    def on_train_batch_end(self, trainer, module, *_):
        if self.context is not None:
            if self.device == "cuda":
                torch.cuda.set_sync_debug_mode("default")
            self.context.__exit__(None, None, None)
            self.context = None
        self.weights.append(module.model.projector.linear.weight.detach().clone())


def fit(device, num_steps, tmp_path, *, nonfinite=(), log_every=4, kept=None):
    """Train with packs that move as those of the data module do; nothing is read before a step is logged."""
    model = tiny("all")
    module = NextTokenModule(
        model,
        rate_of=learning_rates([name for name, _ in model.named_parameters()], PARTS),
        factor=partial(rate_factor, kind="constant", steps=10, warmup_steps=0, floor=0.0),
        optimizer=OptimizerConfig(clip=1.0),
        log_every=log_every,
        keep=None if kept is None else lambda step, packs: kept.append((step, packs)) or tmp_path / "file",
    )
    packs = []
    for pack in PACKS[:2]:
        values, sizes = flat_index(pack.num_samples)
        pack = replace(pack, layout=values, layout_sizes=sizes)
        packs.append(pack if device == "cpu" else pack.pin_memory())
    module.transfer_batch_to_device = lambda batch, to, _: tuple(
        pack.to(to, non_blocking=True) for pack in batch
    )

    class Packs:
        def __iter__(self):
            return itertools.repeat(tuple(packs))

    watch = Watch(device, nonfinite, log_every)
    trainer = Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if device == "cuda" else "32-true",
        max_steps=num_steps,
        max_epochs=-1,
        logger=False,
        callbacks=[watch],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, Packs())
    return trainer, module, watch


@pytest.fixture
def _as_on_a_gpu(monkeypatch):
    """Nothing may be read without waiting, on the CPU either."""
    for module in (step, distributed):
        monkeypatch.setattr(module, "is_on_host", lambda value: False)


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.usefixtures("_as_on_a_gpu")
def test_between_two_logged_steps_the_host_waits_for_nothing(device, tmp_path):
    trainer, module, watch = fit(device, 8, tmp_path, nonfinite={2, 5})
    found = {name: count for name, count in watch.reads.found.items() if "grad.item() == 1.0" not in name}
    assert not found, "but for the CPU's own branch of the loss"
    assert module.nonfinite == (2, 0)
    assert trainer.callback_metrics["nonfinite_steps"] == 2
    assert trainer.callback_metrics["train_loss/all"].isfinite()
    is_still = [torch.equal(a, b) for a, b in itertools.pairwise(watch.weights)]
    assert is_still == [number in (2, 5) for number in range(1, 8)]


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.usefixtures("_as_on_a_gpu")
def test_too_many_skipped_steps_stop_the_run_with_packs_and_weights_of_the_last(device, tmp_path):
    """Steps 1 to 3 are not finite. It is read after step 7, and until then nothing is learned."""
    kept = []
    with pytest.raises(DataError, match=r"step 3: .*3 steps in a row.*audio-lm replay .*file"):
        fit(device, 12, tmp_path, nonfinite={1, 2, 3}, log_every=8, kept=kept)
    assert [(number, len(packs)) for number, packs in kept] == [(3, 2)]
    _, module, watch = fit(device, 7, tmp_path, nonfinite={1, 2, 3}, log_every=8)
    assert all(torch.equal(weight, watch.weights[0]) for weight in watch.weights)
    module.nonfinite = (5, 1)
    assert (module.nonfinite, module.skipped_in_a_row) == ((5, 1), None)


def test_reading_later_gives_the_same_curves(tmp_path, monkeypatch):
    at_once = fit("cpu", 4, tmp_path)[0].callback_metrics
    monkeypatch.setattr(step, "is_on_host", lambda value: False)
    later = fit("cpu", 4, tmp_path)[0].callback_metrics
    assert dict(at_once) == dict(later)
    assert "train_loss/asr" in later
