"""Handle audio that cannot be read, at the cost of its own conversation only.

A read is retried if the fault may be transient. Otherwise the fault is classified, the clip is replaced by
silence and its conversation has no labels. It is never replaced by another clip, so the order of the other
examples does not change.
"""

import errno
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

import numpy as np
from lhotse.cut import Cut

from audio_lm.common.audio_units import Seconds
from audio_lm.data.audio.errors import AudioError, Reason
from audio_lm.data.manifest.cuts import load_waves, num_samples_of

TRANSIENT = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR})
NUM_TRIES = 3
FIRST_PAUSE: Seconds = 0.1
MAX_AMPLITUDE = 1.5  # of full scale; a float file beyond it is not audio
MAX_READ_SECONDS: Seconds = 60.0  # for all clips of a conversation
REPEAT_ALARM_SECONDS: Seconds = 0.5  # between alarms after that


class Fault(NamedTuple):
    """The reason why a conversation has no labels."""

    cut_id: str
    task: str
    source: str
    reason: Reason
    detail: str


class FaultyAudioError(Exception):
    """The clips of a cut cannot be used."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def load_waves_or_fault(cut: Cut) -> list[np.ndarray]:
    """Load the clips of a cut with ``load_waves`` and check their amplitude.

    Raises:
        FaultyAudioError: a clip cannot be read, is silent, or is far beyond full scale.
    """
    for number in range(NUM_TRIES):
        try:
            with _deadline(MAX_READ_SECONDS):
                waves = load_waves(cut)
            break
        except FaultyAudioError:
            raise
        except Exception as error:  # any exception is a fault of this clip and must not end the run
            reason, is_transient = _classify(error)
            if not is_transient or number == NUM_TRIES - 1:
                raise FaultyAudioError(reason, str(error)) from error
            time.sleep(FIRST_PAUSE * 4**number)
    for wave in waves:
        _check(wave)
    return waves


def silence_for(cut: Cut) -> list[np.ndarray]:
    """Silence with the lengths of the clips of a cut."""
    return [np.zeros(count, dtype=np.float32) for count in num_samples_of(cut)]


def _check(wave: np.ndarray) -> None:
    loudest = float(np.abs(wave).max(initial=0.0))
    if loudest == 0.0:
        raise FaultyAudioError("silent", "every sample is zero")
    if loudest > MAX_AMPLITUDE:
        raise FaultyAudioError("range", f"it is as loud as {loudest:.1f} times full scale")


def _classify(error: Exception) -> tuple[Reason, bool]:
    """Reason of a fault, and True if the fault may be transient."""
    causes = list(_causes(error))
    if any(isinstance(cause, TimeoutError | _TooLongError) for cause in causes):
        return "timeout", False
    # Errors of PyAV carry the errno of the system, too.
    if any(getattr(cause, "errno", None) in TRANSIENT for cause in causes):
        return "decode", True
    # Lhotse re-raises errors with its own text and without their reason, so the original one counts.
    reasons = [cause.reason for cause in causes if isinstance(cause, AudioError)]
    return (reasons[-1] if reasons else "decode"), False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class _TooLongError(BaseException):
    """Reading takes too long. A BaseException, so that libraries that catch ``Exception`` do not swallow it."""


@contextmanager
def _deadline(seconds: Seconds) -> Iterator[None]:
    """Interrupt the body after a timeout; no effect outside the main thread, in which data workers read.

    Only the main thread of a process can be interrupted by a signal. The alarm is repeated, because a library
    that calls Python from C may swallow even a BaseException.

    Raises:
        FaultyAudioError: the body took too long.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_ALARM_SECONDS)
    try:
        yield
    except _TooLongError as error:
        raise FaultyAudioError("timeout", f"reading took over {seconds:.0f} s") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
