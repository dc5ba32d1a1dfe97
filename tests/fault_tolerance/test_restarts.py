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


def begin(folder, progress, attempt, launch=JOB, most=3):
    begin_attempt(folder, launch, progress, attempt=attempt, max_restarts=most)


def test_three_restarts_without_a_newer_checkpoint_are_allowed_and_a_fourth_is_not(tmp_path):
    for attempt in range(1, 5):
        begin(tmp_path, [0, 120], attempt)
    with pytest.raises(RunEndedError, match=r"4 starts came no further than the checkpoint of step 120"):
        begin(tmp_path, [0, 120], 5)


def test_a_newer_checkpoint_begins_the_count_anew(tmp_path):
    for attempt in range(1, 20):
        begin(tmp_path, [0, attempt // 3], attempt)
    assert num_restarts(tmp_path) == 18


def test_an_orderly_end_or_another_launch_begins_the_count_anew(tmp_path):
    for attempt in range(1, 5):
        begin(tmp_path, [0, 1], attempt)
    write_exit_reason(tmp_path, ExitReason("loop", "too often", "job", 5))
    begin(tmp_path, [0, 1], 6)
    assert read_exit_reason(tmp_path) is None, "it is not over any more"
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
    assert "ValueError: no room at 0x99aa; it had the clips a, b" in reason.sentence
    with pytest.raises(RunEndedError, match="none after it"):
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


def test_what_comes_from_outside_is_never_a_repeated_fault(tmp_path):
    for attempt in (1, 2):
        put_error(tmp_path, error(attempt=attempt), is_repeatable=False)
    assert read_exit_reason(tmp_path) is None


def test_the_first_rank_that_failed_is_found_whatever_the_clock_of_another_try(tmp_path):
    put_error(tmp_path, error("older try", attempt=1, rank=2))
    put_error(tmp_path, error("first", attempt=2, rank=1))
    put_error(tmp_path, error("second", attempt=2, rank=0))
    assert first_error(tmp_path, 2, but=3).text == "first"
    assert first_error(tmp_path, 2, but=1).text == "second"
    assert first_error(tmp_path, 3, but=0) is None
    assert [one.text for one in errors_in(tmp_path)] == ["older try", "first", "second"]


def test_losing_another_rank_is_told_from_a_fault_of_ones_own():
    assert is_lost_peer(
        RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:17305")
    )
    assert is_lost_peer(RuntimeError("NCCL communicator was aborted"))
    assert not is_lost_peer(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))
    assert not is_lost_peer(ValueError("gloo"))
