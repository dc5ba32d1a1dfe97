import os
import signal
import time

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from audio_lm.common import compat
from audio_lm.common.errors import UserError
from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.fault_tolerance.config import FaultToleranceConfig
from audio_lm.fault_tolerance.heartbeat import Heartbeat
from audio_lm.fault_tolerance.launcher_env import Launch
from audio_lm.fault_tolerance.signals import LOST, SIGNALS, STOP_SIGNALS, encode_signal
from audio_lm.training.callbacks import preemption
from audio_lm.training.callbacks.preemption import (
    HeartbeatCallback,
    PreemptionCallback,
)
from audio_lm.training.callbacks.run_guard import LocalGuard


class OneWeight(LightningModule):
    """Trains a single weight."""

    def __init__(self, fails_at=None):
        super().__init__()
        self.automatic_optimization = False
        self.fails_at = fails_at
        self.validated = []
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, packs, batch_idx):
        if self.global_step == self.fails_at:
            raise ValueError("failed on purpose")
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward((self.weight - 1).square().sum())
        optimizer.step()

    def validation_step(self, packs, batch_idx):
        self.validated.append(self.global_step)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SignalAt(Callback):
    def __init__(self, step, number=signal.SIGTERM, moment="on_train_batch_start"):
        self.step, self.number = step, number
        setattr(self, moment, self.send)

    def send(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def pack(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    return Collator()([with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(2)])


@pytest.fixture(autouse=True)
def _signal_handlers():
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    SIGNALS.received = 0
    SIGNALS.listen()
    yield
    SIGNALS.received = 0
    for number, handler in before.items():
        signal.signal(number, handler)


def fit(pack, tmp_path, callbacks, *, steps=6, validate_every=None, module=None):
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        val_check_interval=validate_every,
        check_val_every_n_epoch=None,
        limit_val_batches=None if validate_every else 0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=callbacks,
    )
    compat.disable_signal_handlers(trainer)
    loader = DataLoader([(pack,)] * 100, batch_size=None)
    module = module or OneWeight()
    trainer.fit(module, loader, DataLoader([(pack,)], batch_size=None))
    return trainer


class RecordSaves:
    """Records the steps of saves."""

    def __init__(self):
        self.steps = []

    def save(self, trainer):
        self.steps.append(trainer.global_step)


class RecordingGuard(LocalGuard):
    """Records the numbers of this rank; agrees on ``at_second`` in the second step, if given."""

    def __init__(self, at_second=None, *, lost_from=None):
        self.numbers, self.errors, self.limits = [], [], []
        self.at_second, self.lost_from = at_second, lost_from

    @property
    def is_lost(self):
        return self.lost_from is not None and len(self.numbers) >= self.lost_from

    def lost_error(self):
        return UserError("a newer start")

    def agree(self, number):
        self.numbers.append(number)
        is_second = self.at_second is not None and len(self.numbers) == 2
        return self.at_second if is_second else number

    def note_error(self, error):
        self.errors.append(error)

    def limit_collectives(self, seconds):
        self.limits.append(seconds)


@pytest.mark.parametrize("number", [signal.SIGINT, *STOP_SIGNALS])
def test_a_signal_ends_the_stage_after_the_step_with_a_checkpoint(pack, tmp_path, number):
    before = signal.getsignal(signal.SIGINT)  # SIG_IGN if started in the background
    keep = RecordSaves()
    stop = PreemptionCallback(keep, LocalGuard())
    trainer = fit(pack, tmp_path, [SignalAt(3, number), stop])
    assert trainer.global_step == 4
    assert stop.received == (number, 0)
    assert keep.steps == [4]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_to_another_rank_ends_the_stage_at_the_same_step(pack, tmp_path):
    guard, keep = RecordingGuard(encode_signal(signal.SIGTERM, 3)), RecordSaves()
    stop = PreemptionCallback(keep, guard)
    trainer = fit(pack, tmp_path, [stop])
    assert (trainer.global_step, stop.received) == (2, (signal.SIGTERM, 3))
    assert keep.steps == [2]
    assert guard.numbers == [0, 0], "a collective of all ranks, once a step, with or without a signal"


def test_a_second_ctrl_c_ends_the_process_at_once_but_not_one_forwarded_by_a_launcher(monkeypatch):
    ended = []
    stop = PreemptionCallback(None, LocalGuard())
    stop.before = lambda *_: ended.append("at once")
    handler = signal.getsignal(signal.SIGUSR1)
    try:
        stop._interrupt(signal.SIGUSR1, None)
        stop._interrupt(signal.SIGUSR1, None)
        assert (stop.interrupted, ended) == (signal.SIGUSR1, [])
        monkeypatch.setattr(preemption, "SAME_SIGNAL", 0.0)
        stop._interrupt(signal.SIGUSR1, None)
        assert ended == ["at once"]
    finally:
        signal.signal(signal.SIGUSR1, handler)


@pytest.mark.parametrize("moment", ["on_train_batch_start", "on_validation_start"])
@pytest.mark.parametrize("step", [2, 3, 4])
def test_a_step_saved_after_a_signal_is_validated_only_if_validation_is_due(pack, tmp_path, step, moment):
    keep = RecordSaves()
    callbacks = [SignalAt(step, signal.SIGTERM, moment), PreemptionCallback(keep, LocalGuard())]
    trainer = fit(pack, tmp_path, callbacks, validate_every=2, steps=8)
    is_never_sent = moment == "on_validation_start" and step % 2
    assert keep.steps == ([] if is_never_sent else [step + 1])
    assert trainer.global_step == (8 if is_never_sent else step + 1)
    assert trainer.lightning_module.validated == [
        number for number in (2, 4, 6, 8) if number <= trainer.global_step
    ]


def test_lightning_neither_handles_signals_nor_broadcasts_them(pack, tmp_path):
    records = []

    class RecordSignals(Callback):
        def on_train_batch_end(self, trainer, *_):
            records.append((signal.getsignal(signal.SIGTERM) == SIGNALS._note, trainer.received_sigterm))

    fit(pack, tmp_path, [SignalAt(2), RecordSignals()], steps=4)
    assert records == [(True, False)] * 4


def test_the_heartbeat_has_phase_step_and_clips_and_the_guard_the_error(pack, tmp_path):
    heartbeat = Heartbeat(tmp_path, FaultToleranceConfig(), rank=0, launch=Launch("", is_elastic=False))
    phases, guard = [], RecordingGuard()
    set_phase = heartbeat.phase
    heartbeat.phase = lambda name, limit=None: (phases.append(name), set_phase(name, limit))
    callback = HeartbeatCallback(heartbeat, "chat", steps=6, guard=guard)
    with pytest.raises(ValueError, match="failed on purpose"):
        fit(pack, tmp_path, [callback], validate_every=2, module=OneWeight(fails_at=4))
    assert phases == [
        *("data", "step", "data", "step", "data", "validation", "data"),
        *("step", "data", "step", "data", "validation", "data", "step"),
    ]
    assert (heartbeat.stage, heartbeat.step, heartbeat.steps) == ("chat", 4, 6)
    assert heartbeat.clip_ids == pack.cut_ids
    assert [str(error) for error in guard.errors] == ["failed on purpose"]
    assert heartbeat.p99 is not None
    assert 0 < heartbeat.busy <= heartbeat.mean + 1


def test_the_timeout_of_collectives_shrinks_once_step_times_are_known(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(preemption, "STEPS_PER_LIMIT", 10)
    heartbeat = Heartbeat(tmp_path, FaultToleranceConfig(), rank=0, launch=Launch("", is_elastic=False))
    guard = RecordingGuard()
    fit(pack, tmp_path, [HeartbeatCallback(heartbeat, "chat", steps=10, guard=guard)], steps=10)
    assert len(guard.limits) == 1
    assert 2 * 60 <= guard.limits[0] < 2 * 60 + 20, time.monotonic()


def test_a_run_taken_by_a_newer_start_ends_after_the_step_and_saves_nothing(pack, tmp_path):
    keep, guard = RecordSaves(), RecordingGuard(lost_from=2)
    with pytest.raises(UserError, match="a newer start"):
        fit(pack, tmp_path, [PreemptionCallback(keep, guard)])
    assert guard.numbers == [0, 0, LOST]
    assert keep.steps == []
    assert encode_signal(64, (1 << 20) - 1) < LOST, "it is larger than the code of every signal of every rank"
