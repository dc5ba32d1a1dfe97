import shutil
import stat

import pytest
import torch

from audio_lm.bench.gpu.machine import QUERY, clocks, matrix_rate, measure_machine, peak_of
from audio_lm.bench.gpu.parts import Task


@pytest.mark.parametrize(
    ("card", "tera"),
    [("NVIDIA H200", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA L40S", 362), ("NVIDIA T4", None)],
)
def test_the_longest_name_decides_about_the_peak(card, tera):
    assert peak_of(card) == (tera and tera * 1e12)


def test_conditions_are_handed_over(tmp_path):
    task = Task(tmp_path / "figures", 10.0, is_rehearsal=True)
    measure_machine(task)
    assert task.figures["torch"] == torch.__version__
    assert "lognormal" in task.figures["clips"]
    assert task.figures["matrix_tflops"] > 0
    assert task.figures["peak_tflops"] is None


def test_the_rate_is_one_of_this_machine():
    assert 1e8 < matrix_rate(torch.device("cpu")) < 1e14


def test_clocks_are_read_where_the_program_is(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '580.1, 1980, 3201, 1980, 500.1, 40'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(shutil, "which", lambda name: str(program))
    assert clocks() == dict(zip(QUERY, ["580.1", "1980", "3201", "1980", "500.1", "40"], strict=True))
    program.write_text("#!/bin/sh\nexit 9\n")
    assert clocks() == {}
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert clocks() == {}
