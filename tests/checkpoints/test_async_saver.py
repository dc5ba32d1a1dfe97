import threading
import time
from pathlib import Path

import pytest

from audio_lm.checkpoints import async_saver
from audio_lm.checkpoints.async_saver import Saver
from audio_lm.checkpoints.discovery import newest_valid
from audio_lm.checkpoints.process_group import Group
from audio_lm.checkpoints.state import progress_of
from audio_lm.checkpoints.writer import CheckpointWriter, SaveFailed
from audio_lm.common.errors import CheckpointError
from tests.checkpoints.tiny import Training, assert_equal


@pytest.fixture
def make(tmp_path):
    """A saver, its reports and the saved steps."""

    def of(*, is_asynchronous=True, folder=tmp_path / "checkpoints"):
        reports, saved = [], []
        saver = Saver(
            CheckpointWriter(folder, Group()),
            is_asynchronous=is_asynchronous,
            report=reports.append,
            when_saved=lambda checkpoint, progress: saved.append((checkpoint.step, progress["cursor"])),
        )
        return saver, reports, saved

    return of


def save(saver, training, **options):
    progress = {"cursor": [training.step]}
    saver.save(training.tensors, step=training.step, facts={}, progress=progress, **options)


def test_a_save_writes_the_state_at_its_call_while_training_continues(make, tmp_path, monkeypatch):
    saver, _, saved = make()
    write, go = saver.writer.write, threading.Event()
    monkeypatch.setattr(saver.writer, "write", lambda *a, **k: (go.wait(30), write(*a, **k))[1])
    training, counts = Training(), {"clips": 0}
    for step in (2, 4):
        counts["clips"] = step
        training.walk(step)
        saver.save(training.tensors, step=step, facts={}, progress={"cursor": [step], "counts": counts})
        training.walk(step + 1)
        counts["clips"] += 1
        go.set()
        saver.finish()
        found = newest_valid(tmp_path / "checkpoints")
        assert_equal(Training().load(found).tensors, Training().walk(step).tensors)
        assert progress_of(found)["counts"] == {"clips": step}
    assert saved == [(2, [2]), (4, [4])]


@pytest.mark.parametrize("is_asynchronous", [True, False])
def test_a_slow_disk_delays_training_only_in_synchronous_saves(make, monkeypatch, is_asynchronous):
    saver, _, saved = make(is_asynchronous=is_asynchronous)
    write, is_trained_on, waited = saver.writer.write, threading.Event(), []

    def write_slowly(*a, **k):
        waited.append(is_trained_on.wait(30 if is_asynchronous else 0.1))
        return write(*a, **k)

    monkeypatch.setattr(saver.writer, "write", write_slowly)
    save(saver, Training().walk(1))
    is_trained_on.set()
    saver.finish()
    assert waited == [is_asynchronous]
    assert [step for step, _ in saved] == [1]


def test_a_save_waits_for_the_save_before_it(make, monkeypatch):
    saver, _, saved = make()
    write = saver.writer.write
    monkeypatch.setattr(saver.writer, "write", lambda *a, **k: (time.sleep(0.1), write(*a, **k))[1])
    training = Training()
    for step in (1, 2, 3):
        save(saver, training.walk(step))
        assert len(saved) == step - 1
    saver.finish()
    assert [step for step, _ in saved] == [1, 2, 3]


@pytest.mark.parametrize("is_asynchronous", [True, False])
def test_failed_saves_are_reported_and_the_third_in_a_row_stops_the_run(make, monkeypatch, is_asynchronous):
    saver, reports, saved = make(is_asynchronous=is_asynchronous)
    write, is_full = saver.writer.write, [False]

    def sometimes(*a, **k):
        if is_full[0]:
            raise SaveFailed("rank 1: No space left on device")
        return write(*a, **k)

    monkeypatch.setattr(saver.writer, "write", sometimes)
    training = Training()

    def step(then_full):
        save(saver, training.walk(training.step + 1))
        if is_asynchronous:
            saver._thread.join()
        is_full[0] = then_full

    step(True)  # saves step 1; then the disk is full
    step(True)
    step(False)  # steps 2 and 3 are not saved; then the disk has space
    step(True)
    assert reports == [
        f"checkpoint NOT saved ({number} in a row), previous ones untouched; training continues: "
        f"rank 1: No space left on device"
        for number in (1, 2)
    ]
    assert [number for number, _ in saved] == [1, 4]
    step(True)
    step(True)
    with pytest.raises(CheckpointError, match=r"NOT saved \(3 in a row\).*continue with resume=auto"):
        (step(True), step(True))
    assert len(reports) == 4


def test_an_asynchronous_error_is_raised_at_the_end(make):
    saver, reports, _ = make(folder=Path("/proc/nope"))
    save(saver, Training().walk(1))
    with pytest.raises(CheckpointError, match=r"NOT saved \(1 in a row\)"):
        saver.finish()
    saver.finish()  # it is raised once only
    assert reports == []


def test_an_asynchronous_error_is_reported_at_the_next_save(make):
    saver, reports, _ = make(folder=Path("/proc/nope"))
    save(saver, Training().walk(1))
    saver._thread.join()
    with pytest.raises(CheckpointError, match=r"\(2 in a row\)"):
        save(saver, Training().walk(2), is_last=True)
    assert len(reports) == 1


def test_a_run_whose_folder_another_start_has_stops_at_once(make, monkeypatch):
    saver, reports, _ = make()

    def refuse():
        raise CheckpointError("the run belongs to another process")

    monkeypatch.setattr(saver.writer, "may_rename", refuse)
    save(saver, Training().walk(1))
    with pytest.raises(CheckpointError, match="belongs to another"):
        save(saver, Training().walk(2))
    assert reports == []


def test_an_exit_with_an_error_waits_for_a_save_up_to_a_timeout(make, monkeypatch):
    saver, _, saved = make()
    write, go = saver.writer.write, threading.Event()
    monkeypatch.setattr(saver.writer, "write", lambda *a, **k: (go.wait(30), write(*a, **k))[1])
    save(saver, Training().walk(1))
    saver.wait(0.05)
    assert saved == [], "the save is still in progress"
    go.set()
    saver.wait(30)
    assert [step for step, _ in saved] == [1]
    assert async_saver.MAX_FAILURES == 3
