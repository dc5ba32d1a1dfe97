import json
import signal
import time

import pytest

from audio_lm.fault_tolerance.exit_status import (
    RunEndedError,
    read_exit_reason,
)
from audio_lm.fault_tolerance.launcher_env import FRESH_STORE
from audio_lm.fault_tolerance.restarts import error_of, put_error
from audio_lm.fault_tolerance.signals import STOP_SIGNALS
from tests.run.sessions import leave

pytestmark = pytest.mark.usefixtures("no_watchdog")
GLOO = "[pair.cc:553] gloo: Connection closed by peer"


def test_ctrl_c_is_recorded_as_an_interrupt(open_session, tmp_path):
    session = open_session(tmp_path)
    session.heartbeat.begin_stage("chat", step=3, steps=9)
    with pytest.raises(
        KeyboardInterrupt, match="stopped at step 3 of stage 'chat'; resume=auto"
    ) as interrupt:
        session.leave(signal.SIGINT, 0)
    leave(session, interrupt.value)
    assert (read_exit_reason(tmp_path).reason, read_exit_reason(tmp_path).code) == ("interrupted", 130)


def test_an_error_is_written_with_step_and_clips(open_session, tmp_path):
    session = open_session(tmp_path)
    session.heartbeat.begin_stage("chat", step=3, steps=9)
    session.heartbeat.clip_ids = ("a", "b")
    leave(session, ValueError("boom"))
    error = json.loads((tmp_path / "errors" / "rank-0.json").read_text())
    assert (error["kind"], error["text"], error["stage"], error["step"]) == ("ValueError", "boom", "chat", 3)
    assert error["clip_ids"] == ["a", "b"]
    assert read_exit_reason(tmp_path) is None, "it may be restarted"


def test_a_rank_that_lost_a_peer_reports_the_error_of_the_peer(open_session, tmp_path, capsys):
    session = open_session(tmp_path)
    launch = session.launch
    put_error(
        tmp_path,
        error_of(
            ValueError("boom"),
            rank=1,
            stage="chat",
            step=3,
            clip_ids=(),
            launch=launch,
            attempt=session.lease.attempt,
        ),
    )
    with pytest.raises(
        RunEndedError, match=r"rank 1 in step 3 of stage 'chat': ValueError: boom; .* rank 0 has only lost it"
    ):
        leave(session, RuntimeError(GLOO))
    assert "ValueError: boom" in capsys.readouterr().err
    assert not (tmp_path / "errors" / "rank-0.json").exists()


def test_a_rank_that_lost_a_killed_peer_soon_reports_its_own_error(open_session, tmp_path):
    session = open_session(tmp_path)
    began = time.monotonic()
    leave(session, RuntimeError(GLOO))
    assert time.monotonic() - began < 5
    assert "gloo" in json.loads((tmp_path / "errors" / "rank-0.json").read_text())["text"]


def test_an_error_that_repeats_ends_the_launch_and_every_later_start_of_it(
    open_session, tmp_path, monkeypatch, capsys
):
    for name, value in (("RUN_ID", "job"), ("MAX_RESTARTS", "9")):
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    monkeypatch.setenv(FRESH_STORE, "1")
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    first = open_session(tmp_path)
    leave(first, ValueError("boom"))
    second = open_session(tmp_path)
    with pytest.raises(RunEndedError, match="The last attempt ended with the same error"):
        leave(second, ValueError("boom"))
    assert "ValueError: boom" in capsys.readouterr().err, "its traceback is shown"
    with pytest.raises(RunEndedError, match="The last attempt ended with the same error"):
        open_session(tmp_path)
    for number, handler in before.items():
        signal.signal(number, handler)
