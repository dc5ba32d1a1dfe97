import json
import os
import signal
import time
from dataclasses import replace

import pytest

from audio_lm.common.errors import UserError
from audio_lm.config.load import load_recipe
from audio_lm.fault_tolerance.config import FaultToleranceConfig
from audio_lm.fault_tolerance.exit_status import (
    ExitReason,
    RunEndedError,
    read_exit_reason,
    write_exit_reason,
)
from audio_lm.fault_tolerance.heartbeat import Heartbeat
from audio_lm.fault_tolerance.launcher_env import FRESH_STORE, Launch
from audio_lm.fault_tolerance.lease import Lease
from audio_lm.fault_tolerance.restarts import error_of, put_error
from audio_lm.fault_tolerance.signals import SIGNALS, STOP_SIGNALS
from audio_lm.run.process_groups import ProcessGroups
from audio_lm.run.session import PreemptedError, Survival, force_resume_on_restart

GLOO = "[pair.cc:553] gloo: Connection closed by peer"


@pytest.fixture(autouse=True)
def _unwatched(monkeypatch):
    monkeypatch.setattr(Heartbeat, "start", lambda self: None)
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    SIGNALS.received = 0
    assert {number: signal.getsignal(number) for number in STOP_SIGNALS} == before, "handlers are given back"


def begun(folder, **config):
    survival = Survival(folder, FaultToleranceConfig(**config))
    survival.__enter__()
    survival.begin([0, 0, 0, 7])
    survival.open()
    return survival


def leave(survival, error=None):
    survival.__exit__(type(error) if error else None, error, None)


def test_a_finished_run_says_so_and_a_lease_was_taken(tmp_path):
    with Survival(tmp_path, FaultToleranceConfig()) as survival:
        survival.begin([0, 0, 0, 0])
        survival.open()
        assert survival.is_newest
        survival.lease.check()
    assert read_exit_reason(tmp_path).reason == "finished"


def test_an_older_start_leaves_everything_as_the_newer_one_has_it(tmp_path):
    survival = begun(tmp_path)
    Lease(tmp_path, Launch("newer", is_elastic=True)).take()
    assert not survival.is_newest
    leave(survival, ValueError("boom"))
    assert read_exit_reason(tmp_path) is None
    assert not (tmp_path / "errors").exists()


def test_told_while_waiting_ends_the_run_with_75_and_asks_who_works_to_leave_it(tmp_path):
    survival, ranks = begun(tmp_path), ProcessGroups("cpu")
    survival.wait(ranks)
    assert [*survival.until_stopped([1, 2])] == [1, 2]
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(PreemptedError):
        [*survival.until_stopped([1, 2])]
    assert [*survival.until_stopped([1, 2], agreed=lambda number: 0)] == [1, 2], "the ranks decide together"
    with pytest.raises(RunEndedError) as ended:
        survival.wait(ranks)
    leave(survival, ended.value)
    assert ended.value.reason.code == 75
    reason = read_exit_reason(tmp_path)
    assert (reason.reason, reason.signal, reason.rank) == ("preempted", "SIGTERM", 0)


def test_one_that_only_waits_passes_it_on_to_the_one_that_works(tmp_path):
    waiting, working = begun(tmp_path), begun(tmp_path)
    assert not working.is_stopping()
    SIGNALS.received = signal.SIGTERM
    waiting._pass_on()
    SIGNALS.received = 0
    assert working.is_stopping()
    leave(working)
    leave(waiting)


def test_ctrl_c_keeps_its_meaning(tmp_path):
    survival = begun(tmp_path)
    survival.heartbeat.begin_stage("chat", step=3, steps=9)
    with pytest.raises(KeyboardInterrupt, match="stopped at step 3 of stage 'chat'; resume=auto") as stopped:
        survival.leave(signal.SIGINT, 0)
    leave(survival, stopped.value)
    assert (read_exit_reason(tmp_path).reason, read_exit_reason(tmp_path).code) == ("interrupted", 130)


def test_an_error_is_written_with_step_and_clips(tmp_path):
    survival = begun(tmp_path)
    survival.heartbeat.begin_stage("chat", step=3, steps=9)
    survival.heartbeat.clip_ids = ("a", "b")
    leave(survival, ValueError("boom"))
    error = json.loads((tmp_path / "errors" / "rank-0.json").read_text())
    assert (error["kind"], error["text"], error["stage"], error["step"]) == ("ValueError", "boom", "chat", 3)
    assert error["clip_ids"] == ["a", "b"]
    assert read_exit_reason(tmp_path) is None, "it may be tried again"


def test_a_rank_that_has_only_lost_another_says_what_that_one_died_of(tmp_path, capsys):
    survival = begun(tmp_path)
    launch = survival.launch
    put_error(
        tmp_path,
        error_of(
            ValueError("boom"),
            rank=1,
            stage="chat",
            step=3,
            clip_ids=(),
            launch=launch,
            attempt=survival.attempt,
        ),
    )
    with pytest.raises(
        RunEndedError, match=r"rank 1 in step 3 of stage 'chat': ValueError: boom; .* rank 0 has only lost it"
    ):
        leave(survival, RuntimeError(GLOO))
    assert "ValueError: boom" in capsys.readouterr().err
    assert not (tmp_path / "errors" / "rank-0.json").exists()


def test_a_rank_that_lost_one_that_was_killed_says_its_own_words_after_a_moment(tmp_path):
    survival = begun(tmp_path)
    began = time.monotonic()
    leave(survival, RuntimeError(GLOO))
    assert time.monotonic() - began < 5
    assert "gloo" in json.loads((tmp_path / "errors" / "rank-0.json").read_text())["text"]


def test_the_second_time_of_the_same_ends_the_launch_and_every_later_start_of_it(
    tmp_path, monkeypatch, capsys
):
    for name, value in (("RUN_ID", "job"), ("MAX_RESTARTS", "9")):
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    monkeypatch.setenv(FRESH_STORE, "1")
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    first = begun(tmp_path)
    leave(first, ValueError("boom"))
    second = begun(tmp_path)
    with pytest.raises(RunEndedError, match="The last attempt ended with the same error"):
        leave(second, ValueError("boom"))
    assert "ValueError: boom" in capsys.readouterr().err, "its traceback is shown"
    with pytest.raises(RunEndedError, match="The last attempt ended with the same error"):
        begun(tmp_path)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_too_many_starts_end_the_launch_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    for _ in range(3):
        survival = begun(tmp_path, max_restarts=2)
        survival._has_begun = False  # as if it had been killed
        leave(survival)
    survival = Survival(tmp_path, FaultToleranceConfig(max_restarts=2))
    with pytest.raises(RunEndedError, match="3 starts made no progress"), survival:
        survival.begin([0, 0, 0, 7])
    assert read_exit_reason(tmp_path).reason == "loop"


def test_a_launcher_that_begins_again_goes_on_and_a_person_begins_anew(small_recipe, tmp_path, monkeypatch):
    composed = load_recipe(small_recipe)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job")
    job = Launch("job", is_elastic=True)
    assert force_resume_on_restart(composed, tmp_path) is composed, "nobody was here"
    Lease(tmp_path, job).take()
    assert force_resume_on_restart(composed, tmp_path).recipe.resume
    write_exit_reason(tmp_path, ExitReason("finished", "done", "job"))
    assert force_resume_on_restart(composed, tmp_path) is composed, "that one had come to its end"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "other")
    (tmp_path / "exit_reason.json").unlink()
    assert force_resume_on_restart(composed, tmp_path) is composed


def test_a_setting_of_survival_is_no_other_recipe(small_recipe):
    one, other = load_recipe(small_recipe), load_recipe(small_recipe, ["fault_tolerance.frozen_seconds=5"])
    assert other.recipe.fault_tolerance == replace(one.recipe.fault_tolerance, frozen_seconds=5)
    assert one.signature == other.signature
    assert one.run_path() == other.run_path()


def test_a_later_start_is_noticed_at_the_next_heartbeat_and_nothing_is_said_over_it(tmp_path):
    older = begun(tmp_path)
    assert not older.is_lost
    assert older.is_newest
    Lease(tmp_path, Launch("later", is_elastic=False)).take()
    until = time.monotonic() + 5
    while not older.is_lost and time.monotonic() < until:
        time.sleep(0.05)
    assert older.is_lost
    with pytest.raises(UserError, match="a newer start of this run writes here"):
        older.check_ours(int)
    with ProcessGroups("cpu") as ranks, pytest.raises(UserError, match="a newer start"):
        older.wait(ranks)
    leave(older, ValueError("of the older one"))
    assert read_exit_reason(tmp_path) is None
    assert not list((tmp_path / "errors").glob("*"))


def test_a_folder_that_was_moved_away_for_a_fresh_run_is_lost_though_numbers_begin_again(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    older = begun(folder)
    folder.rename(tmp_path / "run.1")
    folder.mkdir()
    older.look_at_lease()
    assert not older.is_lost, "nobody has it yet"
    Lease(folder, Launch("", is_elastic=False)).take()
    older.look_at_lease()
    assert older.is_lost
    leave(older)
