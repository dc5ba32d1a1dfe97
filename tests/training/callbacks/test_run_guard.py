from audio_lm.training.callbacks.run_guard import LocalGuard, RunGuard
from tests.forked import on_ranks, together


def test_a_guard_without_a_run_implements_the_protocol():
    names = {name for name in vars(RunGuard) if not name.startswith("_")}
    assert names <= {*dir(LocalGuard)}
    guard = LocalGuard()
    assert not guard.is_lost
    guard.commit()
    with guard.saving(), guard.writing() as may_write:
        assert may_write


def test_ranks_agree_on_the_largest_number():
    assert LocalGuard().agree(3) == 3
    assert on_ranks(2, together(lambda number: LocalGuard().agree(number + 5))) == [6, 6]
