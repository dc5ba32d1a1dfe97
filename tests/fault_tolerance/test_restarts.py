import pytest

from audio_lm.fault_tolerance.exit_status import (
    ExitReason,
    RunEndedError,
    read_exit_reason,
    write_exit_reason,
)
from audio_lm.fault_tolerance.launcher_env import Launch
from audio_lm.fault_tolerance.restarts import (
    begin_attempt,
    check_not_ended,
    error_of,
    errors_in,
    first_error,
    is_lost_peer,
    num_restarts,
    put_error,
)

JOB = Launch("job", is_elastic=True)


def error(text="boom", *, attempt=1, rank=1, step=4, launch=JOB):
    return error_of(
        ValueError(text),
        rank=rank,
        stage="chat",
        step=step,
        clip_ids=("a", "b"),
        launch=launch,
        attempt=attempt,
    )


def begin(folder, progress, attempt, launch=JOB):
    begin_attempt(folder, launch, progress, attempt=attempt, max_restarts=3)


def test_three_restarts_without_a_newer_checkpoint_are_allowed_and_a_fourth_is_not(tmp_path):
    for attempt in range(1, 5):
        begin(tmp_path, [0, 120], attempt)
    with pytest.raises(RunEndedError, match=r"4 starts made no progress beyond the checkpoint of step 120"):
        begin(tmp_path, [0, 120], 5)


def test_a_newer_checkpoint_resets_the_count(tmp_path):
    for attempt in range(1, 20):
        begin(tmp_path, [0, attempt // 3], attempt)
    assert num_restarts(tmp_path) == 18


def test_an_exit_reason_or_another_launch_resets_the_count(tmp_path):
    for attempt in range(1, 5):
        begin(tmp_path, [0, 1], attempt)
    write_exit_reason(tmp_path, ExitReason("loop", "too often", "job", 5))
    begin(tmp_path, [0, 1], 6)
    assert read_exit_reason(tmp_path) is None, "the run has not ended any more"
    for attempt in range(7, 10):
        begin(tmp_path, [0, 1], attempt)
    for attempt in range(10, 14):
        begin(tmp_path, [0, 1], attempt, Launch("other", is_elastic=True))


def test_starts_by_hand_are_not_counted(tmp_path):
    for attempt in range(1, 20):
        begin(tmp_path, [0, 0], attempt, Launch("", is_elastic=False))


def test_the_same_error_at_the_same_step_twice_ends_the_launch_with_its_clips(tmp_path):
    put_error(tmp_path, error("no room at 0x7f12"))
    assert read_exit_reason(tmp_path) is None
    put_error(tmp_path, error("no room at 0x99aa", attempt=2))
    reason = read_exit_reason(tmp_path)
    assert (reason.reason, reason.code, reason.rank, reason.step) == ("fault", 1, 1, 4)
    assert "ValueError: no room at 0x99aa; its clips: a, b" in reason.sentence
    with pytest.raises(RunEndedError, match="no further attempt"):
        check_not_ended(tmp_path, JOB)


@pytest.mark.parametrize(
    "other",
    [{"text": "else"}, {"step": 5}, {"launch": Launch("other", is_elastic=True)}, {"attempt": 1}],
    ids=str,
)
def test_another_error_or_step_or_launch_is_no_repeated_fault(tmp_path, other):
    put_error(tmp_path, error())
    put_error(tmp_path, error(**{"attempt": 2, **other}))
    assert read_exit_reason(tmp_path) is None


def test_an_error_from_outside_is_never_a_repeated_fault(tmp_path):
    for attempt in (1, 2):
        put_error(tmp_path, error(attempt=attempt), is_repeatable=False)
    assert read_exit_reason(tmp_path) is None


def test_the_first_error_is_that_of_the_same_attempt(tmp_path):
    put_error(tmp_path, error("older attempt", attempt=1, rank=2))
    put_error(tmp_path, error("first", attempt=2, rank=1))
    put_error(tmp_path, error("second", attempt=2, rank=0))
    assert first_error(tmp_path, 2, but=3).text == "first"
    assert first_error(tmp_path, 2, but=1).text == "second"
    assert first_error(tmp_path, 3, but=0) is None
    assert [error.text for error in errors_in(tmp_path)] == ["older attempt", "first", "second"]


def test_the_loss_of_another_rank_is_distinguished_from_an_own_fault():
    assert is_lost_peer(
        RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:17305")
    )
    assert is_lost_peer(RuntimeError("NCCL communicator was aborted"))
    assert not is_lost_peer(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))
    assert not is_lost_peer(ValueError("gloo"))
