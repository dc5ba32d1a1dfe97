from dataclasses import replace

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.pipeline.trainer import build_trainer, check_ranks


def test_ranks_that_do_not_divide_the_packs_of_a_step_are_refused(small, monkeypatch):
    check_ranks(small)
    monkeypatch.setenv("WORLD_SIZE", "2")
    two = replace(small, hardware=replace(small.hardware, devices=2))
    with pytest.raises(RecipeError, match="cannot be divided among 2 ranks"):
        check_ranks(two)


def test_the_number_of_processes_must_match_the_devices(small):
    with pytest.raises(
        RecipeError, match=r"8 devices on 1 nodes, but 1 processes.*torchrun --nproc-per-node 8"
    ):
        check_ranks(replace(small, hardware=replace(small.hardware, devices=8)))


def test_the_trainer_has_the_steps_of_the_stage(small, tmp_path):
    stage = small.stages["pretrain"]
    assert build_trainer(small, stage, tmp_path, loggers=[], callbacks=[]).max_steps == stage.steps
