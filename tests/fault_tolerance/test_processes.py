import os
import signal
import subprocess
import sys
import time

import pytest

from audio_lm.fault_tolerance.processes import is_alive, since_boot, start_time_of, state_of

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
import time; time.sleep(60)
"""
CHILD = "{first}\nprint(flush=True)\nimport time; time.sleep(60)"
FIRST = "from audio_lm.fault_tolerance.processes import die_with_parent; die_with_parent()"


def child_of_a_killed_parent(first):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(child=CHILD.format(first=first))], stdout=subprocess.PIPE
    )
    pid = int(parent.stdout.readline())
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    return pid


def is_gone(pid, seconds):
    until = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not is_alive(pid)


def test_a_child_dies_with_its_parent_only_after_die_with_parent():
    assert is_gone(child_of_a_killed_parent(FIRST), 2)
    orphan = child_of_a_killed_parent("")
    assert not is_gone(orphan, 0.3)
    os.kill(orphan, signal.SIGKILL)


def test_a_stopped_process_has_state_t_and_a_process_that_is_gone_has_none():
    sleeper = subprocess.Popen(["sleep", "60"])
    sleeper.send_signal(signal.SIGSTOP)
    until = time.monotonic() + 2
    while state_of(sleeper.pid) != "T" and time.monotonic() < until:
        time.sleep(0.01)
    assert state_of(sleeper.pid) == "T"
    sleeper.kill()
    sleeper.wait()
    assert state_of(sleeper.pid) == ""
    assert not is_alive(sleeper.pid)


def test_a_process_starts_after_its_parent_and_before_now():
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        assert 0 < start_time_of(os.getpid()) <= start_time_of(sleeper.pid) <= since_boot()
        assert start_time_of(2**22) == 0, "no such process"
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_data_worker_dies_with_its_rank_and_ignores_stop_signals():
    first = "from audio_lm.fault_tolerance.processes import init_data_worker; init_data_worker(0)"
    child = subprocess.Popen([sys.executable, "-c", CHILD.format(first=first)], stdout=subprocess.PIPE)
    child.stdout.readline()
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        child.send_signal(number)
    time.sleep(0.1)
    assert child.poll() is None
    child.kill()
    child.wait()
    assert is_gone(child_of_a_killed_parent(first), 2)


@pytest.mark.parametrize(("last", "is_quick"), [("end_data_workers()", True), ("pass", False)])
def test_exit_waits_for_data_workers_unless_they_are_killed_first(last, is_quick):
    program = f"""
import multiprocessing, time
from audio_lm.fault_tolerance.processes import end_data_workers, init_data_worker
def work(pipe):
    init_data_worker(0)
    pipe.send(0)
    time.sleep(60)
ours, theirs = multiprocessing.get_context("fork").Pipe()
multiprocessing.get_context("fork").Process(target=work, args=(theirs,), daemon=True).start()
ours.recv()
print(flush=True)
{last}
"""
    exiting = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    exiting.stdout.readline()
    if is_quick:
        assert exiting.wait(timeout=30) == 0
    else:
        with pytest.raises(subprocess.TimeoutExpired):
            exiting.wait(timeout=1)
        exiting.kill()
        exiting.wait()
