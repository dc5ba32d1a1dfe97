import pytest

from audio_lm.errors import UserError
from audio_lm.survival.launch import Launch
from audio_lm.survival.lease import Lease, generation_in, launch_before


def test_who_comes_later_has_it_and_who_had_it_is_stopped(tmp_path):
    old, new = (
        Lease(tmp_path, Launch("first", is_elastic=True)),
        Lease(tmp_path, Launch("second", is_elastic=True)),
    )
    assert (generation_in(tmp_path), launch_before(tmp_path)) == (0, "")
    assert not old.is_held()
    old.take()
    assert old.is_held()
    old.check()
    new.take()
    assert (generation_in(tmp_path), launch_before(tmp_path)) == (2, "second")
    assert new.is_held()
    assert not old.is_held()
    with pytest.raises(UserError, match="newer start"):
        old.check()


def test_two_starts_of_one_launch_are_not_the_same(tmp_path):
    launch = Launch("job", is_elastic=True)
    first, second = Lease(tmp_path, launch), Lease(tmp_path, launch)
    first.take()
    second.take()
    assert not first.is_held()
