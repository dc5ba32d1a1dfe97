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
from typing import Literal, NamedTuple

import numpy as np
import soundfile
from lhotse import Recording
from lhotse.audio.utils import DurationMismatchError
from lhotse.cut import Cut

from audio_lm.data import shar
from audio_lm.data.cuts import load_waves, num_samples_of, recordings_of
from audio_lm.errors import DataError
from audio_lm.units import Seconds

Reason = Literal["missing", "decode", "short", "rate", "nonfinite", "silent", "range", "timeout", "line"]
PASSING = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR})
NUM_TRIES = 3
FIRST_PAUSE: Seconds = 0.1
LOUDEST = 1.5  # of full scale; a float file beyond it is not audio
MOST_SECONDS: Seconds = 60.0  # for reading one conversation's clips


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


def guarded_waves(cut: Cut) -> list[np.ndarray]:
    """The clips of a cut, as ``load_waves`` reads them, looked at before they are used.

    Raises:
        FaultyAudioError: they cannot be read, or are not audio.
    """
    for number in range(NUM_TRIES):
        try:
            with _deadline(MOST_SECONDS):
                waves = load_waves(cut)
            break
        except DataError as error:
            reason, is_passing = _classified(error, cut)
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
    if loudest > LOUDEST:
        raise FaultyAudioError("range", f"it is as loud as {loudest:.1f} times full scale")


def _classified(error: DataError, cut: Cut) -> tuple[Reason, bool]:
    """What kind of fault it is, and whether it may pass."""
    cause: BaseException | None = error.__cause__
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return "timeout", False
        if isinstance(cause, OSError) and cause.errno in PASSING:
            return "decode", True
        cause = cause.__cause__ or cause.__context__
    if error.__cause__ is None and "not finite" in str(error):
        return "nonfinite", False
    by_header = _by_header(cut)
    was_read = error.__cause__ is None or isinstance(error.__cause__, DurationMismatchError)
    return "short" if was_read and by_header == "decode" else by_header, False


def _by_header(cut: Cut) -> Reason:
    recordings = [cut.recording, *(cut.custom[name] for name in recordings_of(cut))]
    for recording in recordings:
        reason = _by_header_of(recording)
        if reason is not None:
            return reason
    return "decode"


def _by_header_of(recording: Recording) -> Reason | None:
    for source in recording.sources:
        try:
            found = soundfile.info(shar.opened(str(source.source)))
        except FileNotFoundError:
            return "missing"
        except soundfile.LibsndfileError as error:
            return "missing" if error.code == 2 else "decode"
        if found.samplerate not in _rates_of(recording):
            return "rate"
        if found.frames / found.samplerate < recording.duration - 0.025:
            return "short"
    return None


def _rates_of(recording: Recording) -> set[int]:
    """What the file may have: the rate of the recording, or the one it was resampled from."""
    transforms = [one if isinstance(one, dict) else one.to_dict() for one in recording.transforms or ()]
    before = {one["kwargs"]["source_sampling_rate"] for one in transforms if one["name"] == "Resample"}
    return before or {recording.sampling_rate}


@contextmanager
def _deadline(seconds: Seconds) -> Iterator[None]:
    """End what takes too long; only the main thread of a process can be interrupted, which is where loaders read."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(errno.ETIME, f"reading took over {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
