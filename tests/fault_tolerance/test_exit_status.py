import json
import time

from audio_lm.common.files import read_table
from audio_lm.fault_tolerance.clock import Moment
from audio_lm.fault_tolerance.exit_status import (
    FILE,
    STOPPED_BY_SIGNAL,
    ExitReason,
    RunEndedError,
    read_exit_reason,
    write_exit_reason,
)
from audio_lm.fault_tolerance.launcher_env import Launch


def test_an_exit_reason_is_written_with_its_code_and_read_back(tmp_path):
    write_exit_reason(
        tmp_path, ExitReason("preempted", "stopped", "job", 2, signal="SIGTERM", rank=1, step=7)
    )
    assert json.loads((tmp_path / FILE).read_text())["exit_code"] == STOPPED_BY_SIGNAL == 75
    found = read_exit_reason(tmp_path)
    assert (found.reason, found.signal, found.rank, found.step, found.attempt) == (
        "preempted",
        "SIGTERM",
        1,
        7,
        2,
    )
    assert abs(found.time - time.time()) < 5
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_missing_or_incomplete_exit_reason_is_none(tmp_path):
    assert read_exit_reason(tmp_path) is None
    (tmp_path / FILE).write_text('{"reason": "to')
    assert read_exit_reason(tmp_path) is None
    (tmp_path / "list.json").write_text("[1]")
    assert read_table(tmp_path / "list.json") == {}


def test_a_preemption_file_of_an_earlier_release_is_known_by_its_exit_code(tmp_path):
    (tmp_path / FILE).write_text('{"reason": "an older word", "sentence": "stopped", "exit_code": 75}')
    assert read_exit_reason(tmp_path).reason == "preempted"
    (tmp_path / FILE).write_text('{"reason": "an older word", "sentence": "stopped", "exit_code": 1}')
    assert read_exit_reason(tmp_path) is None


def test_an_exit_reason_ends_the_launch_of_its_agent_and_not_of_a_later_agent():
    ended = ExitReason("preempted", "stopped", "job", time=100.0)
    assert ended.ends(Launch("job", is_elastic=True, agent_start=Moment(50.0)))
    assert not ended.ends(Launch("job", is_elastic=True, agent_start=Moment(150.0))), (
        "a later agent is another launch"
    )
    assert not ended.ends(Launch("other", is_elastic=True, agent_start=Moment(50.0)))
    assert not ended.ends(Launch("", is_elastic=False))
    stopped = ExitReason("interrupted", "stop", "job", time=100.0)
    assert not stopped.ends(Launch("job", is_elastic=True, agent_start=Moment(50.0)))
    done = ExitReason("finished", "done", "job", time=100.0)
    assert done.ends(Launch("job", is_elastic=True, agent_start=Moment(50.0))), (
        "a rank was killed while all ranks were exiting"
    )
    assert done.code == 0


def test_an_exit_reason_ends_the_same_launches_after_the_clock_was_set():
    ended = ExitReason("preempted", "stopped", "job", time=100.0, boot="today", since_boot=60.0)
    earlier = Launch("job", is_elastic=True, agent_start=Moment(3700.0, "today", 10.0))
    later = Launch("job", is_elastic=True, agent_start=Moment(50.0, "today", 70.0))
    assert ended.ends(earlier)
    assert not ended.ends(later)
    elsewhere = Launch("job", is_elastic=True, agent_start=Moment(50.0, "another machine", 70.0))
    assert ended.ends(elsewhere), "moments of two machines are compared by wall clock"


def test_a_run_ended_error_has_the_sentence_and_the_code():
    error = RunEndedError(ExitReason("loop", "too often"))
    assert (str(error), error.reason.code) == ("too often", 1)
