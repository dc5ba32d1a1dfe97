import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.runtime import (
    is_main,
    key_of,
    multiplies_in_bf16,
    num_cores,
    random_for,
    rank,
    world_size,
)

purposes = st.lists(st.one_of(st.integers(), st.text()), min_size=1, max_size=4).map(tuple)


@given(purposes, purposes)
def test_only_equal_purposes_draw_equal_numbers(one, other):
    same = random_for(*one).integers(1 << 62) == random_for(*other).integers(1 << 62)
    assert same == (one == other)


def test_a_number_and_its_text_are_other_purposes():
    assert key_of(1) != key_of("1")


def test_another_process_draws_the_same_numbers():
    code = "from audio_lm.common.runtime import random_for; print(random_for(0, 'x', 3).integers(1 << 62))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(said) == random_for(0, "x", 3).integers(1 << 62)


def test_alone_we_are_the_main_process(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (rank(), world_size(), is_main()) == (0, 1, True)
    monkeypatch.setenv("RANK", "1")
    assert not is_main()


def test_a_process_that_is_kept_to_one_core_counts_one():
    one_core = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    code = f"{one_core}; from audio_lm.common.runtime import num_cores; print(num_cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert num_cores() >= 1


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu avx512_bf16 ht", True), ("fpu amx_bf16", True), ("fpu avx512f", False)]
)
def test_a_cpu_says_whether_it_multiplies_in_bf16(tmp_path, flags, expected):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nmodel name : some\nflags\t\t: {flags}\nbugs : none\n")
    assert multiplies_in_bf16(info) is expected
    assert not multiplies_in_bf16(tmp_path / "elsewhere")
