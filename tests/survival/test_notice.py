import os
import signal

import pytest

from audio_lm.survival.notice import TOLD_BY, Notice, note_of, signal_and_rank


@pytest.fixture
def notice():
    before = {number: signal.getsignal(number) for number in TOLD_BY}
    heard = Notice()
    heard.listen()
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", TOLD_BY)
def test_a_signal_leaves_a_note_and_nothing_else(notice, number):
    os.kill(os.getpid(), number)
    assert notice.received == number
    os.kill(os.getpid(), signal.SIGTERM)
    assert notice.received == number, "the first one counts"


def test_a_note_says_which_signal_and_which_rank_and_the_largest_is_the_same_everywhere():
    assert signal_and_rank(note_of(signal.SIGTERM, 1023)) == (signal.SIGTERM, 1023)
    assert note_of(0, 5) == 0
    assert max(note_of(0, 0), note_of(10, 3), note_of(0, 7)) == note_of(10, 3)
