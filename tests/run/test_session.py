import os
import signal

import pytest

from audio_lm.fault_tolerance.exit_status import (
    RunEndedError,
    read_exit_reason,
)
from audio_lm.fault_tolerance.launcher_env import Launch
from audio_lm.fault_tolerance.lease import Lease
from audio_lm.fault_tolerance.signals import SIGNALS
from audio_lm.run.session import PreemptedError
from tests.run.sessions import leave

pytestmark = pytest.mark.usefixtures("no_watchdog")


def test_a_finished_run_records_it_and_has_taken_the_lease(make_session, tmp_path):
    with make_session(tmp_path) as session:
        session.claim([0, 0, 0, 0])
        session.open()
        assert session.lease.is_newest
        session.lease.check()
    assert read_exit_reason(tmp_path).reason == "finished"


def test_an_older_start_writes_no_reason_over_the_newer_one(open_session, tmp_path):
    session = open_session(tmp_path)
    Lease(tmp_path, Launch("newer", is_elastic=True)).take()
    assert not session.lease.is_newest
    leave(session, ValueError("boom"))
    assert read_exit_reason(tmp_path) is None
    assert not (tmp_path / "errors").exists()


def test_a_signal_while_waiting_ends_the_run_with_75_and_interrupts_long_work(
    open_session, monkeypatch, tmp_path
):
    session = open_session(tmp_path)
    session.barrier()
    assert [*session.until_stopped([1, 2])] == [1, 2]
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(PreemptedError):
        [*session.until_stopped([1, 2])]
    with monkeypatch.context() as patched:
        patched.setattr(session, "agree", lambda number: 0)
        assert [*session.until_stopped([1, 2], is_collective=True)] == [1, 2], "the ranks decide together"
    with pytest.raises(RunEndedError) as error:
        session.barrier()
    leave(session, error.value)
    assert error.value.reason.code == 75
    reason = read_exit_reason(tmp_path)
    assert (reason.reason, reason.signal, reason.rank) == ("preempted", "SIGTERM", 0)


def test_a_rank_that_only_waits_forwards_its_signal(open_session, tmp_path):
    waiting, working = open_session(tmp_path), open_session(tmp_path)
    assert not working.is_stopping()
    SIGNALS.received = signal.SIGTERM
    waiting.forward_signal()
    SIGNALS.received = 0
    assert working.is_stopping()
    leave(working)
    leave(waiting)


def test_too_many_starts_without_progress_end_the_launch(open_session, make_session, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    for _ in range(3):
        session = open_session(tmp_path, max_restarts=2)
        session.lease.is_taken = False  # as if it had been killed
        leave(session)
    session = make_session(tmp_path, max_restarts=2)
    with pytest.raises(RunEndedError, match="3 starts made no progress"), session:
        session.claim([0, 0, 0, 7])
    assert read_exit_reason(tmp_path).reason == "loop"
