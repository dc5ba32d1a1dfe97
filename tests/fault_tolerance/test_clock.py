import os
import time

from audio_lm.fault_tolerance import clock
from audio_lm.fault_tolerance.clock import NEVER, Moment, now, start_of


def test_of_two_moments_of_one_machine_the_first_is_first_whatever_its_clock_said(monkeypatch):
    first = now()
    monkeypatch.setattr(time, "time", lambda: first.time - 3600)
    second = now()
    assert second.time < first.time
    assert first.is_before(second)
    assert not second.is_before(first)
    assert start_of(os.getpid()).is_before(first)


def test_of_two_machines_and_of_two_boots_the_clocks_are_asked():
    assert Moment(1.0, "one", 50.0).is_before(Moment(2.0, "another", 5.0))
    assert NEVER.is_before(Moment(1.0, "one", 0.0))


def test_what_is_gone_began_never(monkeypatch):
    monkeypatch.setattr(clock, "start_time_of", lambda pid: 0.0)
    assert start_of(1) == NEVER
