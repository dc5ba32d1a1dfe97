import threading
import time

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
    """A saver, what it said and what it has saved."""

    def of(*, is_asynchronous=True, folder=tmp_path / "checkpoints"):
        told, saved = [], []
        saver = Saver(
            CheckpointWriter(folder, Group()),
            is_asynchronous=is_asynchronous,
            report=told.append,
            when_saved=lambda checkpoint, progress: saved.append((checkpoint.step, progress["cursor"])),
        )
        return saver, told, saved

    return of


def save(saver, training, **how):
    saver.save(training.tensors, step=training.step, facts={}, progress={"cursor": [training.step]}, **how)


def test_what_is_saved_is_the_state_at_the_call_although_training_goes_on(make, tmp_path, monkeypatch):
    saver, _, saved = make()
    write, go = saver.store.write, threading.Event()
    monkeypatch.setattr(saver.store, "write", lambda *a, **k: (go.wait(30), write(*a, **k))[1])
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
def test_a_slow_disk_does_not_hold_training_up_unless_it_waits(make, monkeypatch, is_asynchronous):
    saver, _, saved = make(is_asynchronous=is_asynchronous)
    write, is_trained_on, waited = saver.store.write, threading.Event(), []

    def write_slowly(*a, **k):
        waited.append(is_trained_on.wait(30 if is_asynchronous else 0.1))
        return write(*a, **k)

    monkeypatch.setattr(saver.store, "write", write_slowly)
    save(saver, Training().walk(1))
    is_trained_on.set()
    saver.finish()
    assert waited == [is_asynchronous]
    assert [step for step, _ in saved] == [1]


def test_one_save_waits_for_the_one_before_it(make, monkeypatch):
    saver, _, saved = make()
    write = saver.store.write
    monkeypatch.setattr(saver.store, "write", lambda *a, **k: (time.sleep(0.1), write(*a, **k))[1])
    training = Training()
    for step in (1, 2, 3):
        save(saver, training.walk(step))
        assert len(saved) == step - 1
    saver.finish()
    assert [step for step, _ in saved] == [1, 2, 3]


@pytest.mark.parametrize("is_asynchronous", [True, False])
def test_failures_are_told_and_the_third_in_a_row_stops_the_run(make, monkeypatch, is_asynchronous):
    saver, told, saved = make(is_asynchronous=is_asynchronous)
    write, is_full = saver.store.write, [False]

    def sometimes(*a, **k):
        if is_full[0]:
            raise SaveFailed("rank 1: No space left on device")
        return write(*a, **k)

    monkeypatch.setattr(saver.store, "write", sometimes)
    training = Training()

    def step(full):
        save(saver, training.walk(training.step + 1))
        if is_asynchronous:
            saver._writing.join()
        is_full[0] = full

    step(True)  # step 1 is saved, and from now on the disk is full
    step(True)
    step(False)  # steps 2 and 3 are not, and now there is room
    step(True)
    assert told == [
        f"checkpoint NOT saved ({number} in a row), previous ones untouched; training goes on: "
        f"rank 1: No space left on device"
        for number in (1, 2)
    ]
    assert [one for one, _ in saved] == [1, 4]
    step(True)
    step(True)
    with pytest.raises(CheckpointError, match=r"NOT saved \(3 in a row\).*go on with resume=auto"):
        (step(True), step(True))
    assert len(told) == 4


def test_an_error_nobody_has_seen_yet_surfaces_at_the_end(make):
    saver, told, _ = make(folder=__import__("pathlib").Path("/proc/nope"))
    save(saver, Training().walk(1))
    with pytest.raises(CheckpointError, match=r"NOT saved \(1 in a row\)"):
        saver.finish()
    saver.finish()  # and once only
    assert told == []


def test_an_error_nobody_has_seen_yet_surfaces_at_the_next_save(make):
    saver, told, _ = make(folder=__import__("pathlib").Path("/proc/nope"))
    save(saver, Training().walk(1))
    saver._writing.join()
    with pytest.raises(CheckpointError, match=r"\(2 in a row\)"):
        save(saver, Training().walk(2), is_last=True)
    assert len(told) == 1


def test_a_run_that_was_taken_over_stops_at_once(make, monkeypatch):
    saver, told, _ = make()

    def refuse():
        raise CheckpointError("the run belongs to another process")

    monkeypatch.setattr(saver.store, "may_rename", refuse)
    save(saver, Training().walk(1))
    with pytest.raises(CheckpointError, match="belongs to another"):
        save(saver, Training().walk(2))
    assert told == []


def test_who_leaves_with_an_error_waits_a_little_and_no_longer(make, monkeypatch):
    saver, _, saved = make()
    write, go = saver.store.write, threading.Event()
    monkeypatch.setattr(saver.store, "write", lambda *a, **k: (go.wait(30), write(*a, **k))[1])
    save(saver, Training().walk(1))
    saver.wait(0.05)
    assert saved == [], "it was left while it was still waiting"
    go.set()
    saver.wait(30)
    assert [step for step, _ in saved] == [1]
    assert async_saver.MAX_FAILURES == 3
