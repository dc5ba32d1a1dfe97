from itertools import pairwise

import pytest

from audio_lm.training.schedules import rate_factor


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_it_rises_to_the_peak_and_never_above(kind):
    factors = [rate_factor(step, kind=kind, steps=100, warmup_steps=10, floor=0.2) for step in range(101)]
    assert factors[9] == max(factors) == 1.0
    assert all(after > before for before, after in pairwise(factors[:10]))
    assert all(after <= before for before, after in pairwise(factors[10:]))


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_it_ends_at_the_floor(kind):
    assert rate_factor(100, kind=kind, steps=100, warmup_steps=10, floor=0.2) == pytest.approx(0.2)


def test_the_cosine_is_half_way_in_the_middle():
    assert rate_factor(55, kind="cosine", steps=100, warmup_steps=10, floor=0.2) == pytest.approx(0.6)
