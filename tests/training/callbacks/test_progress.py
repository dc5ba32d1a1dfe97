import io

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from torch.utils.data import DataLoader

from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.training.callbacks import progress
from audio_lm.training.callbacks.progress import ProgressLine, Throughput


class OneWeight(LightningModule):
    """Trains a single weight."""

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


@pytest.fixture
def pack(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    return Collator()([with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(2)])


def fit(pack, tmp_path, callbacks, *, steps=6):
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=callbacks,
    )
    trainer.fit(OneWeight(), DataLoader([(pack,)] * 100, batch_size=None))
    return trainer


def test_progress_lines_outside_a_terminal_have_the_losses_of_tasks(pack, tmp_path):
    console = Console(file=io.StringIO(), width=200)
    throughput = Throughput(budget=1_000, log_every=2)
    fit(pack, tmp_path, [throughput, ProgressLine("chat", steps=6, throughput=throughput, console=console)])
    output = console.file.getvalue()
    assert "chat  step 6/6  loss" in output
    assert "asr 2.00" in output
    assert "audio-s/s" in output


def test_throughput_counts_tokens_and_audio_seconds(pack, tmp_path):
    logged = []
    throughput = Throughput(budget=2 * pack.token_ids.numel(), log_every=3)

    class RecordRates(Callback):
        def on_train_batch_end(self, trainer, *_):
            if throughput.rates:
                logged.append(dict(throughput.rates))

    fit(pack, tmp_path, [throughput, RecordRates()])
    rates = logged[-1]
    ratio = rates["throughput/tokens_per_second"] / rates["throughput/steps_per_second"]
    assert ratio == pytest.approx(pack.token_ids.numel())
    seconds = rates["throughput/audio_seconds_per_second"] / rates["throughput/steps_per_second"]
    assert seconds == pytest.approx(sum(pack.num_samples) / 16_000)


class Logged:
    """Logger and trainer at a step."""

    def __init__(self, step):
        self.global_step, self.loggers, self.values = step, [self], {}

    def log_metrics(self, values, step):
        self.values = values


def test_rates_are_totals_by_the_time_since_the_last_log_and_the_unfilled_share_that_of_the_budget(
    pack, monkeypatch
):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    throughput = Throughput(budget=4 * pack.token_ids.numel(), log_every=2)
    throughput.on_train_start(None, None)
    for last in (2, 4):
        for step, packs in ((last - 1, (pack,)), (last, (pack, pack))):
            now[0] += 5.0
            trainer = Logged(step)
            throughput.on_train_batch_end(trainer, None, None, packs, 0)
        values = trainer.values
        assert values["throughput/unfilled_share"] == pytest.approx(1 - 3 / 8)
        assert values["throughput/learned_tokens_per_second"] == pytest.approx(3 * pack.num_learned / 10)
        assert values["throughput/conversations_per_second"] == pytest.approx(3 * len(pack) / 10)
        assert values["throughput/steps_per_second"] == pytest.approx(0.2)


def test_the_time_left_is_that_of_the_steps_since_the_start(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=200)
    line = ProgressLine("chat", steps=100, throughput=Throughput(budget=1), console=console, after=600.0)
    trainer = Logged(40)  # resumed
    trainer.callback_metrics = {}
    line.on_train_start(trainer, None)
    now[0], trainer.global_step = 30.0, 50
    line.on_train_batch_end(trainer, None)
    assert "step 50/100" in console.file.getvalue()
    assert "150 s left, 12 min of the run" in console.file.getvalue()
