import time
from itertools import accumulate

import pytest
from lightning import Trainer
from torch.utils.data import DataLoader

from audio_lm.training.callbacks.step_clock import StepClock
from tests.training.callbacks.test_preemption import OneWeight

SLOW, FAST = 0.05, 0.01


class Timed(OneWeight):
    """Takes longer in its first two steps."""

    def training_step(self, packs, batch_idx):
        time.sleep(SLOW if self.global_step < 2 else FAST)
        super().training_step(packs, batch_idx)

    def validation_step(self, packs, batch_idx):
        time.sleep(SLOW)


def fit(tmp_path, clock, *, batches=range(0)):
    trainer = Trainer(
        accelerator="cpu",
        max_steps=50,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        val_check_interval=10_000,
        check_val_every_n_epoch=None,
        default_root_dir=tmp_path,
        callbacks=[clock],
    )
    validation = DataLoader(batches, batch_size=None) if batches else None
    trainer.fit(Timed(), DataLoader(range(100), batch_size=None), validation)
    return trainer.global_step


def test_the_first_steps_are_not_counted_and_the_fit_ends(tmp_path):
    clock = StepClock(skip=2, enough=4, most=4, seconds=60)
    assert fit(tmp_path, clock) == 6
    assert FAST <= clock.step < SLOW
    assert clock.validation is None


def test_slow_steps_are_counted_once(tmp_path):
    clock = StepClock(skip=2, enough=4, most=40, seconds=0.0)
    assert fit(tmp_path, clock) == 3
    assert clock.step >= FAST


def test_quick_steps_are_counted_until_they_have_settled(tmp_path):
    clock = StepClock(skip=2, enough=4, most=40, seconds=60)
    clock.settling = 2 * SLOW + 10 * FAST
    num_steps = fit(tmp_path, clock)
    assert 6 < num_steps < 42
    assert clock.times[-1] - clock.started > clock.settling >= clock.times[-2] - clock.started


def test_the_later_half_of_many_steps_is_counted():
    clock = StepClock(skip=2, enough=4, most=40, seconds=60)
    durations = [9.0, 9.0, *[0.5] * 10, *[0.1] * 10]
    clock.times = [sum(durations[: step + 1]) for step in range(len(durations))]
    assert clock.step == pytest.approx(0.1)
    clock.times = clock.times[:6]
    assert clock.step == pytest.approx(0.5)


def test_a_validation_is_timed_without_its_first_batch(tmp_path):
    clock = StepClock(skip=2, enough=4, most=4, seconds=60)
    fit(tmp_path, clock, batches=range(3))
    assert len(clock.validation_times) == 4
    assert clock.validation == pytest.approx(SLOW, rel=0.5)


def test_a_stop_ends_it_without_a_time(tmp_path):
    clock = StepClock(skip=2, enough=4, most=4, seconds=60, is_stopping=lambda: True)
    assert fit(tmp_path, clock) == 1
    assert clock.step is None


@pytest.mark.parametrize(("num_steps", "num_batches"), [(3, 1), (7, 4), (2, 0)])
def test_times_are_means_of_what_is_counted(num_steps, num_batches):
    """Two steps that are skipped, and the first batch of a validation if there are others, take ten times as long."""
    clock = StepClock(skip=2, enough=40, most=40, seconds=60)
    clock.times = [*accumulate([50.0, 50.0, *[4.0, 6.0] * 9][:num_steps])]
    counted = ([4.0, 6.0] * 9)[: num_steps - 2]
    assert clock.step == (pytest.approx(sum(counted) / len(counted)) if counted else None)
    batches = [30.0, *[2.0, 4.0] * 9][:num_batches]
    clock.validation_times = [*accumulate([7.0, *batches])] if batches else []
    rest = batches[1:] or batches
    assert clock.validation == (pytest.approx(sum(rest) / len(rest)) if batches else None)
