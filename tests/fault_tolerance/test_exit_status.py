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


def test_a_reason_is_written_with_its_code_and_read_again(tmp_path):
    write_exit_reason(tmp_path, ExitReason("told", "stopped", "job", 2, signal="SIGTERM", rank=1, step=7))
    assert json.loads((tmp_path / FILE).read_text())["exit_code"] == STOPPED_BY_SIGNAL == 75
    found = read_exit_reason(tmp_path)
    assert (found.reason, found.signal, found.rank, found.step, found.attempt) == ("told", "SIGTERM", 1, 7, 2)
    assert abs(found.time - time.time()) < 5
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_no_reason_or_half_of_one_is_none(tmp_path):
    assert read_exit_reason(tmp_path) is None
    (tmp_path / FILE).write_text('{"reason": "to')
    assert read_exit_reason(tmp_path) is None
    (tmp_path / "list.json").write_text("[1]")
    assert read_table(tmp_path / "list.json") == {}


def test_an_end_holds_for_the_agent_that_lived_through_it_and_not_for_a_later_one():
    ended = ExitReason("told", "stopped", "job", time=100.0)
    assert ended.ends(Launch("job", is_elastic=True, began=Moment(50.0)))
    assert not ended.ends(Launch("job", is_elastic=True, began=Moment(150.0))), "somebody started it anew"
    assert not ended.ends(Launch("other", is_elastic=True, began=Moment(50.0)))
    assert not ended.ends(Launch("", is_elastic=False))
    stopped = ExitReason("interrupted", "stop", "job", time=100.0)
    assert not stopped.ends(Launch("job", is_elastic=True, began=Moment(50.0)))
    done = ExitReason("finished", "done", "job", time=100.0)
    assert done.ends(Launch("job", is_elastic=True, began=Moment(50.0))), (
        "one rank was killed while all were leaving"
    )
    assert done.code == 0


def test_an_end_holds_for_the_same_agents_when_somebody_has_set_the_clock():
    ended = ExitReason("told", "stopped", "job", time=100.0, boot="today", since_boot=60.0)
    lived_through_it = Launch("job", is_elastic=True, began=Moment(3700.0, "today", 10.0))
    later = Launch("job", is_elastic=True, began=Moment(50.0, "today", 70.0))
    assert ended.ends(lived_through_it)
    assert not ended.ends(later)
    elsewhere = Launch("job", is_elastic=True, began=Moment(50.0, "another machine", 70.0))
    assert ended.ends(elsewhere), "of another machine there is only the clock"


def test_an_ended_run_says_its_sentence_and_code():
    error = RunEndedError(ExitReason("loop", "too often"))
    assert (str(error), error.reason.code) == ("too often", 1)
