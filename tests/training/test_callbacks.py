import io
import json
import os
import signal

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from torch.utils.data import DataLoader

from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.training import callbacks
from audio_lm.training.callbacks import ProgressLine, StopOnSignal, Throughput, write_json


class Walk(LightningModule):
    """Walks one weight one step at a time."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, packs, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward((self.weight - 1).square().sum())
        optimizer.step()
        self.log("train_loss/all", float(self.weight))
        self.log("train_loss/asr", 2.0)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SignalAt(Callback):
    def __init__(self, step, number=signal.SIGINT):
        self.step, self.number = step, number

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def pack(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    return Collator()([with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(2)])


class Saved:
    """Remembers the steps it was to save."""

    def __init__(self):
        self.steps = []

    def save(self, trainer):
        self.steps.append(trainer.global_step)


def fit(pack, tmp_path, called, *, steps=6):
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=called,
    )
    trainer.fit(Walk(), DataLoader([(pack,)] * 100, batch_size=None))
    return trainer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_stage_after_the_step_with_a_checkpoint(pack, tmp_path, number):
    before = signal.getsignal(signal.SIGINT)  # ignored where somebody started us in the background
    keep = Saved()
    stop = StopOnSignal(keep)
    trainer = fit(pack, tmp_path, [SignalAt(3, number), stop])
    assert trainer.global_step == 4
    assert stop.received == number
    assert keep.steps == [4]
    assert signal.getsignal(signal.SIGINT) is before


def test_what_follows_a_signal_at_once_is_the_same_signal_passed_on(monkeypatch):
    ended = []
    stop = StopOnSignal(None)
    stop.before[signal.SIGUSR1] = lambda *_: ended.append("at once")
    handler = signal.getsignal(signal.SIGUSR1)
    try:
        stop._note(signal.SIGUSR1, None)
        stop._note(signal.SIGUSR1, None)
        assert (stop.received, ended) == (signal.SIGUSR1, [])
        monkeypatch.setattr(callbacks, "SAME_SIGNAL", 0.0)
        stop._note(signal.SIGUSR1, None)
        assert ended == ["at once"]
    finally:
        signal.signal(signal.SIGUSR1, handler)


def test_a_log_file_gets_lines_with_the_losses_of_tasks(pack, tmp_path):
    console = Console(file=io.StringIO(), width=200)
    throughput = Throughput(budget=1_000, log_every=2)
    fit(pack, tmp_path, [throughput, ProgressLine("walk", steps=6, throughput=throughput, console=console)])
    said = console.file.getvalue()
    assert "walk  step 6/6  loss" in said
    assert "asr 2.00" in said
    assert "audio-s/s" in said


def test_throughput_counts_what_went_through(pack, tmp_path):
    logged = []
    throughput = Throughput(budget=2 * pack.token_ids.numel(), log_every=3)

    class Kept(Callback):
        def on_train_batch_end(self, trainer, *_):
            if throughput.rates:
                logged.append(dict(throughput.rates))

    fit(pack, tmp_path, [throughput, Kept()])
    rates = logged[-1]
    ratio = rates["throughput/tokens_per_second"] / rates["throughput/steps_per_second"]
    assert ratio == pytest.approx(pack.token_ids.numel())
    seconds = rates["throughput/audio_seconds_per_second"] / rates["throughput/steps_per_second"]
    assert seconds == pytest.approx(sum(pack.num_samples) / 16_000)


def test_a_small_file_is_replaced_in_one_move(tmp_path):
    path = tmp_path / "status.json"
    write_json(path, {"step": 1})
    write_json(path, {"step": 2})
    assert json.loads(path.read_text()) == {"step": 2}
    assert list(tmp_path.iterdir()) == [path]
