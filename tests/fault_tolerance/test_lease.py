import threading

import pytest

from audio_lm.common.errors import UserError
from audio_lm.fault_tolerance.launcher_env import Launch
from audio_lm.fault_tolerance.lease import Lease, generation_in, launch_before
from audio_lm.fault_tolerance.restarts import begin_attempt


def test_the_newest_start_holds_the_lease_and_the_previous_holder_is_stopped(tmp_path):
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


def test_two_starts_of_one_launch_have_different_leases(tmp_path):
    launch = Launch("job", is_elastic=True)
    first, second = Lease(tmp_path, launch), Lease(tmp_path, launch)
    first.take()
    second.take()
    assert not first.is_held()


def test_a_lease_cannot_be_taken_while_its_holder_writes_and_then_the_old_holder_cannot_write(tmp_path):
    old, new = (Lease(tmp_path, Launch(name, is_elastic=False)) for name in ("first", "second"))
    old.take()
    taken = threading.Event()

    def take():
        new.take()
        taken.set()

    with old.writing() as is_held:
        assert is_held
        thread = threading.Thread(target=take)
        thread.start()
        assert not taken.wait(0.2)
    thread.join()
    with old.writing() as is_held:
        assert not is_held


def test_taking_a_lease_does_not_wait_for_a_holder_that_is_frozen_while_it_writes(tmp_path):
    old, new = (Lease(tmp_path, Launch(name, is_elastic=False)) for name in ("first", "second"))
    old.take()
    with old.writing():
        new.take()
        assert not old.is_held()


def test_simultaneous_starts_have_different_generations(tmp_path):
    leases = [Lease(tmp_path, Launch(str(number), is_elastic=False)) for number in range(8)]
    threads = [threading.Thread(target=lease.take) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lease.generation for lease in leases) == list(range(1, 9))
    assert [lease.is_held() for lease in leases].count(True) == 1


@pytest.mark.parametrize("content", [b"", b'{"generation": 3', b"[]"])
def test_a_damaged_lease_is_still_held_and_the_next_start_has_a_higher_generation(tmp_path, content):
    old = Lease(tmp_path, Launch("first", is_elastic=False))
    for _ in range(3):
        old.take()
    begin_attempt(tmp_path, old.launch, [0], attempt=old.generation, max_restarts=9)
    old.path.write_bytes(content)
    assert old.is_held()
    new = Lease(tmp_path, Launch("second", is_elastic=False))
    new.take()
    assert new.generation == 4
    assert not old.is_held()
