import os
import signal

import pytest

from audio_lm.common.errors import UserError
from audio_lm.fault_tolerance import launcher_env
from audio_lm.fault_tolerance.clock import NEVER, now
from audio_lm.fault_tolerance.launcher_env import (
    FRESH_STORE,
    Launch,
    check_launch,
    current_launch,
    stop_agent,
)

TORCHRUN = {"TORCHELASTIC_RUN_ID": "job", "TORCHELASTIC_MAX_RESTARTS": "3"}


def test_a_person_torchrun_and_slurm_are_distinguished():
    assert current_launch({}) == Launch("", is_elastic=False)
    found = current_launch(TORCHRUN)
    assert (found.id, found.is_elastic, found.max_restarts) == ("job", True, 3)
    assert NEVER.is_before(found.agent_start)
    assert found.agent_start.is_before(now())
    assert current_launch({"SLURM_JOB_ID": "7"}).id == "slurm-7-0"
    assert current_launch({"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "2", **TORCHRUN}).id == "slurm-7-2/job"


def test_restarts_are_refused_if_ranks_would_find_old_addresses():
    launch = current_launch(TORCHRUN)
    with pytest.raises(UserError, match=f"{FRESH_STORE}=1"):
        check_launch(launch, TORCHRUN)
    check_launch(launch, {FRESH_STORE: "1"})
    check_launch(Launch("job", is_elastic=True, max_restarts=0), {})


def test_only_a_torchrun_agent_is_stopped_and_only_by_one_rank_of_a_node(monkeypatch):
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    elastic = Launch("job", is_elastic=True)
    stop_agent(elastic)
    assert sent == [], "the parent is not torchrun"
    monkeypatch.setattr(launcher_env, "_is_torchrun", lambda pid: True)
    stop_agent(Launch("", is_elastic=False))
    monkeypatch.setenv("LOCAL_RANK", "1")
    stop_agent(elastic)
    assert sent == []
    stop_agent(elastic, is_cause=True)
    monkeypatch.setenv("LOCAL_RANK", "0")
    stop_agent(elastic)
    assert sent == [(os.getppid(), signal.SIGTERM)] * 2
