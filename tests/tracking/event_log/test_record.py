from types import SimpleNamespace

import pytest

from audio_lm.tracking.event_log.record import status_after, status_of_lightning


def exit_after(error, code):
    try:
        try:
            raise error
        except BaseException:
            raise SystemExit(code)  # noqa: B904
    except SystemExit as raised:
        return raised


def error_with_reason(code):
    error = Exception("stopped")
    error.reason = SimpleNamespace(code=code)
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "FINISHED"),
        (SystemExit(0), "FINISHED"),
        (KeyboardInterrupt(), "KILLED"),
        (exit_after(KeyboardInterrupt(), 1), "KILLED"),
        (SystemExit(75), "KILLED"),
        (error_with_reason(75), "KILLED"),
        (error_with_reason(1), "FAILED"),
        (SystemExit(1), "FAILED"),
        (ValueError("shape"), "FAILED"),
    ],
)
def test_the_status_distinguishes_a_stop_from_a_failure(error, status):
    assert status_after(error) == status


def test_lightnings_failed_status_is_killed_after_ctrl_c():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert status_of_lightning("failed") == "KILLED"
    try:
        raise ValueError
    except ValueError:
        assert status_of_lightning("failed") == "FAILED"
    assert status_of_lightning("success") == "FINISHED"
