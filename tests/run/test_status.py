import io
import json
import os

import pytest
import yaml
from rich.console import Console

from audio_lm.checkpoints.manifest import CheckpointManifest, write_manifest
from audio_lm.common.errors import UserError
from audio_lm.common.files import write_json
from audio_lm.common.seals import seal_of
from audio_lm.fault_tolerance.exit_status import ExitReason, write_exit_reason
from audio_lm.run.status import as_table, print_status, status_of, watch_status

NOW = 1_000_000.0


@pytest.fixture
def run(tmp_path):
    stages = {"pretrain": {"steps": 100}, "chat": {"steps": 50}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (tmp_path / "heartbeats").mkdir()
    return tmp_path


def beat(run, rank, **values):
    usual = {
        **{
            "rank": rank,
            "pid": 100 + rank,
            "host": f"node-{rank}",
            "attempt": 2,
            "stage": "chat",
            "step": 20,
        },
        **{"phase": "step", "step_seconds": 2.0, "busy_seconds": 1.0, "time": NOW - 1},
    }
    write_json(run / "heartbeats" / f"rank-{rank}.json", usual | values)


def keep(run, stage, step, age, name=None):
    folder = run / "stages" / stage / "checkpoints" / (name or f"step-{step:08d}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "part").write_bytes(b"weights")
    write_manifest(folder, CheckpointManifest(step, 2, {}, {"part": seal_of(folder / "part")}))
    os.utime(folder, (NOW - age, NOW - age))
    write_json(run / "stages" / stage / "status.json", {"step": step, "steps": 50, "finished": False})
    return folder


def test_a_running_run_shows_step_speed_and_checkpoint(run):
    beat(run, 0)
    beat(run, 1, step=19, phase="save")
    keep(run, "chat", 15, 300)
    write_json(run / "attempts.json", {"attempts": [{}, {}, {}]})
    status = status_of(run, NOW)
    assert (status.state, status.stage, status.stage_number, status.num_stages) == ("running", "chat", 2, 2)
    assert (status.step, status.steps, status.steps_per_second, status.seconds_left) == (19, 50, 0.5, 62.0)
    assert (status.checkpoint.step, status.checkpoint.age) == (15, pytest.approx(300))
    assert (status.restarts, status.slowest_rank) == (2, 1)
    assert [rank.age for rank in status.ranks] == [1.0, 1.0]


def test_the_slowest_is_the_silent_one_then_the_last_one_then_the_busiest(run):
    beat(run, 0, busy_seconds=1.9)
    beat(run, 1)
    assert status_of(run, NOW).slowest_rank == 0
    beat(run, 1, step=19)
    assert status_of(run, NOW).slowest_rank == 1
    beat(run, 0, time=NOW - 40)
    assert status_of(run, NOW).slowest_rank == 0


def test_a_rank_of_an_earlier_start_is_ignored_whatever_its_clock(run):
    beat(run, 0)
    beat(run, 1, attempt=1, time=NOW + 3600, step=44)
    assert [rank.rank for rank in status_of(run, NOW).ranks] == [0]
    beat(run, 0, time=NOW + 3600)  # its clock was set back since
    assert status_of(run, NOW).ranks[0].age == 0


def test_the_newest_checkpoint_is_the_last_valid_step_whatever_its_time(run):
    keep(run, "chat", 20, 5)
    keep(run, "chat", 30, 500)
    (keep(run, "chat", 40, 1) / "part").write_bytes(b"half")
    (keep(run, "chat", 50, 1) / "MANIFEST.json").write_text("{")
    keep(run, "chat", 60, 1, name="step-00000060.tmp-1a2b3c4d")
    write_json(run / "stages" / "chat" / "status.json", {"step": 30, "finished": False})
    status = status_of(run, NOW)
    assert (status.checkpoint.step, status.checkpoint.age, status.step) == (30, pytest.approx(500), 30)
    assert status.state == "not started"


def test_a_run_that_has_ended_shows_the_reason(run):
    beat(run, 0)
    write_exit_reason(
        run, ExitReason("preempted", "stopped after step 20", "job", 2, signal="SIGTERM", rank=1)
    )
    status = status_of(run, NOW)
    assert (status.state, status.exit_reason.signal) == ("ended", "SIGTERM")
    assert json.loads(json.dumps(as_table(status)))["exit_reason"]["sentence"] == "stopped after step 20"
    console = Console(file=io.StringIO(), width=120)
    print_status(status, console)
    watch_status(run, console)
    output = console.file.getvalue()
    for words in ("preempted: stopped after step 20", "20 of 50", "node-0", "0.5 steps/s", "slowest rank"):
        assert words in output, words


def test_a_run_without_recent_heartbeats_is_silent(run):
    beat(run, 0, time=NOW - 60)
    assert status_of(run, NOW).state == "silent"


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        status_of(tmp_path)
