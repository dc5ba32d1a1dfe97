"""Time that each training step spends in logging calls."""

import time

STALL = 0.1  # seconds of a step that logging may take


def stalls_of(call, steps, *, pause=0.0):
    """Duration of ``call(step)`` in seconds, for each step."""
    stalls = []
    for step in steps:
        start = time.monotonic()
        call(step)
        stalls.append(time.monotonic() - start)
        time.sleep(pause)
    return stalls


def assert_none_stalls(stalls, note=""):
    """Check that logging does not wait for a server.

    A busy machine stalls single steps; waiting for a server stalls all steps, by seconds.
    """
    print(f"longest stall, {note}: {1000 * max(stalls):.2f} ms")
    assert sorted(stalls)[9 * len(stalls) // 10] < STALL, note
    assert max(stalls) < 20 * STALL, note
