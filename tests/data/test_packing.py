from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from audio_lm.data.packing import PackConstraint


def sized(num_tokens):
    return SimpleNamespace(custom={"example": range(num_tokens)})


@given(st.lists(st.integers(1, 60), min_size=50, max_size=200))
def test_packs_are_full_but_not_over_by_more_than_one_conversation(lengths):
    constraint = PackConstraint(max_tokens=1_000)
    for length in lengths:
        constraint.add(sized(length))
        if constraint.close_to_exceeding():
            assert 1_000 - 2 * 60 <= constraint.num_tokens <= 1_000 + 60
            constraint.reset()
        else:
            assert not constraint.exceeded()


def test_a_number_of_conversations_closes_a_pack():
    constraint = PackConstraint(max_tokens=1_000, max_conversations=3)
    for count in (1, 2, 3):
        constraint.add(sized(1))
        assert constraint.close_to_exceeding() == (count == 3)
