from dataclasses import replace

import pytest

from audio_lm.common.errors import CheckpointError
from audio_lm.config.load import load_recipe
from audio_lm.fault_tolerance.exit_status import (
    ExitReason,
    write_exit_reason,
)
from audio_lm.fault_tolerance.launcher_env import Launch
from audio_lm.fault_tolerance.lease import Lease
from audio_lm.run.start import RunStart, force_resume_on_restart

pytestmark = pytest.mark.usefixtures("no_watchdog")


def test_a_restart_by_a_launcher_resumes_and_a_new_start_does_not(small_recipe, tmp_path, monkeypatch):
    composed = load_recipe(small_recipe)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job")
    job = Launch("job", is_elastic=True)
    assert force_resume_on_restart(composed, tmp_path) is composed, "no start before"
    Lease(tmp_path, job).take()
    assert force_resume_on_restart(composed, tmp_path).recipe.resume
    assert RunStart(load_recipe(small_recipe, ["resume=auto"]), tmp_path).is_restart, (
        "it is not measured again"
    )
    write_exit_reason(tmp_path, ExitReason("finished", "done", "job"))
    assert force_resume_on_restart(composed, tmp_path) is composed, "the launch has finished"
    assert not RunStart(composed, tmp_path).is_restart
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "other")
    (tmp_path / "exit_reason.json").unlink()
    assert force_resume_on_restart(composed, tmp_path) is composed


def test_a_setting_of_fault_tolerance_keeps_the_signature(small_recipe):
    usual, changed = (
        load_recipe(small_recipe),
        load_recipe(small_recipe, ["fault_tolerance.frozen_seconds=5"]),
    )
    assert changed.recipe.fault_tolerance == replace(usual.recipe.fault_tolerance, frozen_seconds=5)
    assert usual.signature == changed.signature
    assert usual.run_path() == changed.run_path()


def test_the_next_stage_starts_from_the_weights_of_the_stage_before_and_no_others(
    finished_folder, small_recipe, make_session
):
    session = make_session(finished_folder.path)

    def first(stage, *overrides):
        start = RunStart(load_recipe(small_recipe, overrides), out=finished_folder.path)
        return start.first_weights(stage, session, is_sharded=False)

    assert first("pretrain", "resume=auto") is None
    assert first("chat", "resume=auto") == finished_folder.model("pretrain")
    (finished_folder.model("pretrain") / "encoder.safetensors").write_bytes(b"other")
    with pytest.raises(CheckpointError, match=r"encoder\.safetensors has 5 bytes"):
        first("chat", "resume=auto")
    assert first("chat") is None, "the model has them"
