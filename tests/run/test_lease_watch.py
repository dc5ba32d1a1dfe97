import time

import pytest

from audio_lm.common.errors import UserError
from audio_lm.fault_tolerance.exit_status import (
    read_exit_reason,
)
from audio_lm.fault_tolerance.launcher_env import Launch
from audio_lm.fault_tolerance.lease import Lease
from tests.run.sessions import leave

pytestmark = pytest.mark.usefixtures("no_watchdog")


def test_a_later_start_is_detected_at_the_next_heartbeat_and_its_files_stay(open_session, tmp_path):
    older = open_session(tmp_path)
    assert not older.is_lost
    assert older.lease.is_newest
    Lease(tmp_path, Launch("later", is_elastic=False)).take()
    until = time.monotonic() + 5
    while not older.is_lost and time.monotonic() < until:
        time.sleep(0.05)
    assert older.is_lost
    with pytest.raises(UserError, match="a newer start of this run writes here"):
        older.check_lease()
    with pytest.raises(UserError, match="a newer start"):
        older.barrier()
    leave(older, ValueError("of the older one"))
    assert read_exit_reason(tmp_path) is None
    assert not list((tmp_path / "errors").glob("*"))


def test_a_folder_that_was_moved_aside_for_a_fresh_run_is_lost(open_session, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    older = open_session(folder)
    folder.rename(tmp_path / "run.1")
    folder.mkdir()
    older.lease.look()
    assert not older.is_lost, "no start has it yet"
    Lease(folder, Launch("", is_elastic=False)).take()
    older.lease.look()
    assert older.is_lost
    leave(older)
