"""Audio that cannot be read costs its own conversation and nothing else.

A read is tried again where the fault may pass; what stays broken is given a
name, silence takes its place, and nothing of it is learned. It is never replaced by
another clip, so the order of all others is what it was.
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

PASSING = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR})
NUM_TRIES = 3
FIRST_PAUSE: Seconds = 0.1
MAX_AMPLITUDE = 1.5  # of full scale; a float file beyond it is not audio
MAX_READ_SECONDS: Seconds = 60.0  # for reading one conversation's clips
REPEAT_ALARM_SECONDS: Seconds = 0.5  # between alarms, once that time is over


class Fault(NamedTuple):
    """Why a conversation counts nothing."""

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
    """The clips of a cut, as ``load_waves`` reads them, looked at before they are used.

    Raises:
        FaultyAudioError: they cannot be read, or are not audio.
    """
    for number in range(NUM_TRIES):
        try:
            with _deadline(MAX_READ_SECONDS):
                waves = load_waves(cut)
            break
        except FaultyAudioError:
            raise
        except Exception as error:  # whatever it is, it is a fault of this clip and not the end of the run
            reason, is_passing = _classified(error)
            if not is_passing or number == NUM_TRIES - 1:
                raise FaultyAudioError(reason, str(error)) from error
            time.sleep(FIRST_PAUSE * 4**number)
    for wave in waves:
        _check(wave)
    return waves


def silence_for(cut: Cut) -> list[np.ndarray]:
    """As long as the clips would have been."""
    return [np.zeros(count, dtype=np.float32) for count in num_samples_of(cut)]


def _check(wave: np.ndarray) -> None:
    loudest = float(np.abs(wave).max(initial=0.0))
    if loudest == 0.0:
        raise FaultyAudioError("silent", "every sample is zero")
    if loudest > MAX_AMPLITUDE:
        raise FaultyAudioError("range", f"it is as loud as {loudest:.1f} times full scale")


def _classified(error: Exception) -> tuple[Reason, bool]:
    """What kind of fault it is, and whether it may pass."""
    causes = list(_causes(error))
    if any(isinstance(cause, TimeoutError | _TooLongError) for cause in causes):
        return "timeout", False
    # Errors of PyAV have the number of the system's error, too.
    if any(getattr(cause, "errno", None) in PASSING for cause in causes):
        return "decode", True
    # Lhotse raises errors again with its own text and without their reason, so the first one counts.
    reasons = [cause.reason for cause in causes if isinstance(cause, AudioError)]
    return (reasons[-1] if reasons else "decode"), False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class _TooLongError(BaseException):
    """Reading takes too long; no library that goes on after an ``Exception`` catches it."""


@contextmanager
def _deadline(seconds: Seconds) -> Iterator[None]:
    """End what takes too long; only the main thread of a process can be interrupted, which is where loaders read.

    The alarm is repeated, because a library may swallow even this one where it calls back from C.

    Raises:
        FaultyAudioError: it took too long.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_ALARM_SECONDS)
    try:
        yield
    except _TooLongError as error:
        raise FaultyAudioError("timeout", f"reading took over {seconds:.0f} s") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
