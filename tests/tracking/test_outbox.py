import threading
import time

import pytest

from audio_lm.tracking.outbox import MAX_ATTEMPTS, Outbox


@pytest.fixture
def outbox():
    made = []

    def make(first_pause=0.001):
        box = Outbox(
            receiver="the store",
            errors=(OSError,),
            is_refusal=lambda error: isinstance(error, FileNotFoundError),
            first_pause=first_pause,
        )
        made.append(box)
        return box

    yield make
    for box in made:
        box.close(0)


def failing(times, error, done):
    left = [error] * times

    def send():
        if left:
            raise left.pop()
        done.append(True)

    return send


def test_letters_arrive_in_order(outbox):
    box, arrived = outbox(), []
    for number in range(50):
        box.post("number", lambda number=number: arrived.append(number))
    assert box.drain(5)
    assert arrived == list(range(50))


def test_posting_does_not_wait_for_a_slow_receiver(outbox):
    box, gate = outbox(), threading.Event()
    start = time.monotonic()
    box.post("slow", lambda: gate.wait(5))
    assert time.monotonic() - start < 0.5
    gate.set()
    assert box.drain(5)


def test_a_receiver_that_comes_back_gets_everything_and_is_told_of_once(outbox, warned):
    box, done = outbox(), []
    box.post("a", failing(3, OSError("gone"), done))
    box.post("b", failing(0, OSError("gone"), done))
    until = time.monotonic() + 5
    while len(done) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(done) == 2
    gone, back = warned()
    assert "does not answer" in gone
    assert "answers again" in back


def test_a_refused_letter_is_not_tried_again(outbox, warned):
    box, done = outbox(), []
    box.post("a file", failing(1, FileNotFoundError("no such file"), done))
    box.post("b", lambda: done.append("b"))
    assert box.drain(5)
    assert done == ["b"]
    assert "did not take a file" in warned()[0]


def test_a_letter_that_never_passes_does_not_hold_up_the_others_for_ever(outbox):
    box, done = outbox(), []
    box.post("picture", failing(MAX_ATTEMPTS + 5, OSError("full"), done))
    box.post("values", lambda: done.append("values"))
    until = time.monotonic() + 5
    while not done and time.monotonic() < until:
        time.sleep(0.01)
    assert done == ["values"]


def test_an_essential_letter_is_kept(outbox):
    box, done = outbox(), []
    box.post("values", failing(MAX_ATTEMPTS + 2, OSError("gone"), done), is_essential=True)
    until = time.monotonic() + 5
    while not done and time.monotonic() < until:
        time.sleep(0.01)
    assert done == [True]


def test_closing_does_not_wait_for_a_receiver_that_is_away(outbox):
    box = outbox(first_pause=60.0)
    box.post("values", failing(1000, OSError("gone"), []), is_essential=True)
    box.post("more", lambda: None)
    start = time.monotonic()
    assert box.close(30) == 2
    assert time.monotonic() - start < 2
