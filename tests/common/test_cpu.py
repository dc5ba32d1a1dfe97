import subprocess
import sys

import pytest

from audio_lm.common.cpu import has_bf16_instructions, num_cores


def test_a_process_pinned_to_one_core_counts_one():
    one_core = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    code = f"{one_core}; from audio_lm.common.cpu import num_cores; print(num_cores())"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "1"
    assert num_cores() >= 1


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu avx512_bf16 ht", True), ("fpu amx_bf16", True), ("fpu avx512f", False)]
)
def test_bf16_support_is_read_from_the_cpu_flags(tmp_path, flags, expected):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nmodel name : some\nflags\t\t: {flags}\nbugs : none\n")
    assert has_bf16_instructions(info) is expected
    assert not has_bf16_instructions(tmp_path / "no_such_file")
