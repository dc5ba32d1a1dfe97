"""Life signs of workers, and the judgement of others."""

import multiprocessing
import os
import signal
import time

import pytest

from audio_lm.common.files import read_json, write_json
from audio_lm.sweep.workers import LifeSign, Observer, num_alive


@pytest.fixture
def sleeper(tmp_path):
    """A worker that only gives its life sign: its process, and its name."""
    name = tmp_path / "name"

    def live():
        with LifeSign(tmp_path, beat=0.05) as sign:
            name.write_text(sign.worker)
            while True:
                time.sleep(1)

    process = multiprocessing.get_context("fork").Process(target=live)
    process.start()
    while not name.exists() or not name.read_text():
        time.sleep(0.01)
    yield process, name.read_text()
    process.kill()
    process.join()


def test_a_killed_worker_of_this_machine_is_dead_at_once(tmp_path, sleeper):
    process, worker = sleeper
    observer = Observer(tmp_path)
    assert not observer.is_dead(worker)
    process.kill()
    process.join()
    assert observer.is_dead(worker)


def test_a_frozen_worker_is_dead_after_a_while_and_alive_when_it_goes_on(tmp_path, sleeper):
    process, worker = sleeper
    observer = Observer(tmp_path, silence=0.6)
    os.kill(process.pid, signal.SIGSTOP)
    until = time.monotonic() + 60
    while not observer.is_dead(worker):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGCONT)
    while observer.is_dead(worker):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_process_id_that_was_given_again_is_not_the_worker(tmp_path):
    with LifeSign(tmp_path, beat=100) as sign:
        assert not Observer(tmp_path).is_dead(sign.worker)
        write_json(sign.path, {**read_json(sign.path).values, "start": 1.0})
        assert Observer(tmp_path).is_dead(sign.worker)
        assert num_alive(tmp_path) == 1
    assert num_alive(tmp_path) == 0


@pytest.mark.parametrize("is_missing", [False, True])
def test_a_worker_of_another_machine_is_alive_while_its_file_changes(tmp_path, is_missing):
    """Its clock may be wrong by years, and its process id says nothing here."""
    with LifeSign(tmp_path, beat=100) as sign:
        table = {**read_json(sign.path).values, "machine": "elsewhere", "pid": 1}
        write_json(sign.path, table)
        os.utime(sign.path, (0, 0))
        if is_missing:
            sign.path.unlink()
        observer = Observer(tmp_path, silence=0.2)
        assert not observer.is_dead(sign.worker)
        time.sleep(0.3)
        assert observer.is_dead(sign.worker)
        write_json(sign.path, {**table, "count": 5})
        assert not observer.is_dead(sign.worker)
