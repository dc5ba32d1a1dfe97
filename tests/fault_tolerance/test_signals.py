import os
import signal

import pytest

from audio_lm.fault_tolerance.signals import STOP_SIGNALS, SignalFlag, decode_signal, encode_signal


@pytest.fixture
def notice():
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    heard = SignalFlag()
    heard.listen()
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_leaves_a_note_and_nothing_else(notice, number):
    os.kill(os.getpid(), number)
    assert notice.received == number
    os.kill(os.getpid(), signal.SIGTERM)
    assert notice.received == number, "the first one counts"


def test_a_note_says_which_signal_and_which_rank_and_the_largest_is_the_same_everywhere():
    assert decode_signal(encode_signal(signal.SIGTERM, 1023)) == (signal.SIGTERM, 1023)
    assert encode_signal(0, 5) == 0
    assert max(encode_signal(0, 0), encode_signal(10, 3), encode_signal(0, 7)) == encode_signal(10, 3)
