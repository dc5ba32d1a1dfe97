import os
import signal

import pytest

from audio_lm.fault_tolerance.signals import STOP_SIGNALS, SignalFlag, decode_signal, encode_signal


@pytest.fixture
def flag():
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    flag = SignalFlag()
    flag.listen()
    yield flag
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_sets_the_flag_and_nothing_else(flag, number):
    os.kill(os.getpid(), number)
    assert flag.received == number
    os.kill(os.getpid(), signal.SIGTERM)
    assert flag.received == number, "the first one counts"


def test_a_code_holds_signal_and_rank_and_ranks_agree_on_the_largest():
    assert decode_signal(encode_signal(signal.SIGTERM, 1023)) == (signal.SIGTERM, 1023)
    assert encode_signal(0, 5) == 0
    assert max(encode_signal(0, 0), encode_signal(10, 3), encode_signal(0, 7)) == encode_signal(10, 3)
