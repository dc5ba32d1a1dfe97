"""How long each step was held up by what is written down about it."""

import time

STALL = 0.1  # seconds that tracking may take of a step


def stalls_of(call, steps, *, pause=0.0):
    """Seconds of ``call(step)``, step by step."""
    stalls = []
    for step in steps:
        began = time.monotonic()
        call(step)
        stalls.append(time.monotonic() - began)
        time.sleep(pause)
    return stalls


def assert_none_stalls(stalls, note=""):
    """A machine that has no time for us stalls a step now and then; who waits for a server stalls all, and for seconds."""
    print(f"longest stall, {note}: {1000 * max(stalls):.2f} ms")
    assert sorted(stalls)[9 * len(stalls) // 10] < STALL, note
    assert max(stalls) < 20 * STALL, note
