"""Recording from a microphone, where there is one; the library ``sounddevice`` (extra ``microphone``) is optional."""

import threading
from typing import Any, NamedTuple

import numpy as np

from audio_lm.common.audio_units import MAX_SECONDS, SAMPLES_PER_SECOND, Seconds
from audio_lm.common.errors import UserError, first_line, missing_extra


class Recorded(NamedTuple):
    """Samples of a recording."""

    samples: np.ndarray[Any, np.dtype[np.float32]]  # (S,)
    rate: int


class Microphone:
    """Default microphone of the system."""

    def __init__(self) -> None:
        """Find it.

        Raises:
            UserError: the library or the microphone is missing.
        """
        try:
            import sounddevice
        except ModuleNotFoundError as error:
            raise missing_extra("sounddevice", extra="microphone", purpose="recording") from error
        except OSError as error:
            raise UserError(
                f"recording needs the library PortAudio ({first_line(error)}); install it with the packages of your system, "
                f"such as libportaudio2, or give a file with /audio"
            ) from error
        self._library = sounddevice
        try:
            sounddevice.query_devices(kind="input")
        except (sounddevice.PortAudioError, ValueError) as error:
            raise UserError(
                f"there is no microphone ({first_line(error)}) -- expected an input device; give a file with /audio"
            ) from error

    def record(self, finished: threading.Event, *, max_seconds: Seconds = MAX_SECONDS) -> Recorded:
        """Record until ``finished`` is set.

        Raises:
            UserError: the microphone cannot be opened, or nothing was recorded.
        """
        blocks: list[np.ndarray[Any, np.dtype[np.float32]]] = []

        def keep(block: np.ndarray[Any, np.dtype[np.float32]], *_: object) -> None:
            blocks.append(block[:, 0].copy())

        try:
            with self._library.InputStream(
                samplerate=SAMPLES_PER_SECOND, channels=1, dtype="float32", callback=keep
            ):
                finished.wait(max_seconds)
        except self._library.PortAudioError as error:
            raise UserError(
                f"the microphone cannot be opened ({first_line(error)}); close other programs that use it, or give a file with "
                f"/audio"
            ) from error
        if not blocks:
            raise UserError("nothing was recorded -- expected sound from the microphone; record longer")
        samples = np.concatenate(blocks)[: round(max_seconds * SAMPLES_PER_SECOND)]
        return Recorded(samples, SAMPLES_PER_SECOND)
