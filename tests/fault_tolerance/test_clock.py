import os
import time

from audio_lm.fault_tolerance import clock
from audio_lm.fault_tolerance.clock import NEVER, Moment, now, start_of


def test_moments_of_one_machine_are_ordered_even_if_its_clock_is_set_back(monkeypatch):
    first = now()
    monkeypatch.setattr(time, "time", lambda: first.time - 3600)
    second = now()
    assert second.time < first.time
    assert first.is_before(second)
    assert not second.is_before(first)
    assert start_of(os.getpid()).is_before(first)


def test_moments_of_two_machines_or_two_boots_are_ordered_by_wall_clock():
    assert Moment(1.0, "one", 50.0).is_before(Moment(2.0, "another", 5.0))
    assert NEVER.is_before(Moment(1.0, "one", 0.0))


def test_the_start_of_a_process_that_is_gone_is_never(monkeypatch):
    monkeypatch.setattr(clock, "start_time_of", lambda pid: 0.0)
    assert start_of(1) == NEVER
