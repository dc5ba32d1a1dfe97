import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.rng import key_of, random_for

purposes = st.lists(st.one_of(st.integers(), st.text()), min_size=1, max_size=4).map(tuple)


@given(purposes, purposes)
def test_only_equal_purposes_draw_equal_numbers(purpose, other):
    same = random_for(*purpose).integers(1 << 62) == random_for(*other).integers(1 << 62)
    assert same == (purpose == other)


def test_a_number_and_its_text_are_different_purposes():
    assert key_of(1) != key_of("1")


def test_another_process_draws_the_same_numbers():
    code = "from audio_lm.common.rng import random_for; print(random_for(0, 'x', 3).integers(1 << 62))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(output) == random_for(0, "x", 3).integers(1 << 62)
