"""Decode audio files. Imports, checks, training and reports all read audio through this module.

The content of a file selects the decoder, not its name: libsndfile if the header states an exact length
(WAV, RF64, Wave64, AIFF, AU, CAF, SPHERE, FLAC), else FFmpeg. Headers of compressed files only estimate the
length, so the samples of these files are counted by decoding.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from io import BytesIO
from math import floor, inf
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import UserError, missing_extra
from audio_lm.data.audio import ffmpeg, headers
from audio_lm.data.audio.errors import AudioError

TOLERANCE: Seconds = 0.025  # allowed difference between the stated and the real length of a file
EDGE: Seconds = 0.1  # decoded at both ends of a file whose header states an exact length
BLOCK = 1 << 16  # samples that are decoded at once to measure their power

Wave = np.ndarray[Any, np.dtype[np.float32]]
PathOrBytes = str | BytesIO
"""A path, or the bytes of a file."""


@dataclass(frozen=True)
class AudioMeasurement:
    """Properties of a file, measured over its full length."""

    rate: int
    num_samples: int
    num_channels: int
    is_counted: bool
    """``num_samples`` was counted by decoding; else the header states it and the bytes are in the file."""

    powers: tuple[float, ...] = ()
    """Mean square of each channel; empty unless requested, and for a single channel."""

    mean_power: float = 0.0
    """Mean square of the average of all channels."""

    @property
    def seconds(self) -> Seconds:
        """Duration."""
        return self.num_samples / self.rate


class DecodedAudio(NamedTuple):
    """Decoded samples."""

    wave: Wave  # (C, N)
    rate: int
    is_any_rate: bool = False  # Opus has no sampling rate of its own; it is decoded at 48 kHz


def measure(place: PathOrBytes, *, name: str = "", with_powers: bool = False) -> AudioMeasurement:
    """Measure a file and check that it is complete.

    Args:
        name: of the file in messages, if ``place`` is bytes.
        with_powers: decode files of several channels to the end and measure the power of each channel.

    Raises:
        AudioError: the file is missing, no audio, damaged, or shorter than its header states.
        UserError: the package that decodes it is not installed.
    """
    with _named(name or place), _open_sndfile(place) as sound:
        try:
            found = _count(place, with_powers) if sound is None else _measure(sound, with_powers)
        except ImportError as error:
            purpose = f"reading {name or place}, which is no WAV, FLAC or AIFF,"
            raise missing_extra("av", extra="codecs", purpose=purpose) from error
        _check_complete(place, found)
        return found


def read(
    place: PathOrBytes, start: Seconds = 0.0, seconds: Seconds | None = None, *, name: str = ""
) -> DecodedAudio:
    """Decode a segment of a file.

    Args:
        seconds: duration; None reads to the end.

    Returns:
        float32, full scale is 1; fewer samples if the file ends earlier.

    Raises:
        AudioError: the file is missing or cannot be decoded.
    """
    with _named(name or place), _open_sndfile(place) as sound:
        if sound is None:
            return _decode(place, start, seconds)
        first = samples_at(start, sound.samplerate)
        if first > sound.frames:
            raise AudioError(
                f"ends at {sound.frames / sound.samplerate:.2f} s, before {start:.2f} s", "short"
            )
        sound.seek(first)
        count = -1 if seconds is None else samples_at(seconds, sound.samplerate)
        return DecodedAudio(sound.read(count, dtype="float32", always_2d=True).T, sound.samplerate)


def samples_at(seconds: Seconds, rate: int) -> int:
    """Number of samples in a duration; halves are rounded up as in Lhotse."""
    return floor(round(seconds * rate, 8) + 0.5)


@contextmanager
def _named(place: PathOrBytes | str) -> Iterator[None]:
    """Turn every exception of a decoder into an ``AudioError`` that names the file."""
    where = "its audio" if isinstance(place, BytesIO) else place
    try:
        yield
    except AudioError as error:
        raise AudioError(f"{where} {error}", error.reason) from error
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{where} cannot be decoded ({error.error_string})") from error
    except ImportError as error:
        raise AudioError(f"{where} is no WAV, FLAC or AIFF, and the package 'av' is not installed") from error
    except UserError:
        raise
    except Exception as error:  # decoders raise exceptions of many types on malformed input
        raise AudioError(f"{where} cannot be read ({type(error).__name__}: {error})") from error


@contextmanager
def _open_sndfile(place: PathOrBytes) -> Iterator[soundfile.SoundFile | None]:
    """Open a file with libsndfile; yields None if FFmpeg has to decode it."""
    with _open_regular(place) as file:
        head = file.read(16)
        if tag := headers.id3_bytes(head):
            file.seek(tag)
            head = file.read(16)
        file.seek(0)
        sound = _sndfile(place, file) if headers.is_sndfile(head) else None
        if sound is None:
            file.seek(0)  # libsndfile leaves the file position where it failed
            yield None
            return
        with sound:
            yield sound


@contextmanager
def _open_regular(place: PathOrBytes) -> Iterator[BinaryIO]:
    """Open a regular file; opening a pipe or a device could block forever."""
    if isinstance(place, BytesIO):
        place.seek(0)
        yield place
        return
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise AudioError("is missing", "missing") from error
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise AudioError("is no regular file")
        yield file


def _sndfile(place: PathOrBytes, file: BinaryIO) -> soundfile.SoundFile | None:
    """Open a file with libsndfile; None if libsndfile cannot give its exact length and FFmpeg can decode it."""
    try:
        sound = soundfile.SoundFile(place if isinstance(place, BytesIO) else file.fileno(), closefd=False)
    except soundfile.LibsndfileError:
        if _has_ffmpeg():
            return None
        raise
    if not sound.subtype.startswith("MPEG") and 0 < sound.frames < 1 << 62:
        return sound
    with sound:
        if _has_ffmpeg() or sound.frames:
            return None
    raise AudioError(ffmpeg.NO_SAMPLES, "short")


def _has_ffmpeg() -> bool:
    """True if PyAV is installed; the search takes a third of the time of measuring a short file."""
    return find_spec("av") is not None


def _measure(sound: soundfile.SoundFile, with_powers: bool) -> AudioMeasurement:
    """Read the length from the header, and decode both ends of the file as a check."""
    rate, frames = sound.samplerate, sound.frames
    edge = min(frames, round(EDGE * rate))
    sound.seek(0)
    sound.read(edge)
    sound.seek(frames - edge)
    if len(sound.read(edge)) < edge:
        raise AudioError("is shorter than its header states", "short")
    powers = _Powers()
    if with_powers and sound.channels > 1:
        sound.seek(0)
        for block in sound.blocks(BLOCK, dtype="float32", always_2d=True):
            powers.add(block.T)
    return powers.annotate(AudioMeasurement(rate, frames, sound.channels, is_counted=False))


def _check_complete(place: PathOrBytes, found: AudioMeasurement) -> None:
    """Compare the number of sample bytes with the number that the header states.

    Raises:
        AudioError: the file is shorter than its header states.
    """
    # A second file object, because libsndfile depends on the position of the first one.
    with _open_regular(BytesIO(place.getvalue()) if isinstance(place, BytesIO) else place) as file:
        data = headers.data_of(file)
    if data is None or data.stated is None or data.present >= data.stated:
        return
    stated = found.seconds * data.stated / max(1, data.present)
    if stated - found.seconds > TOLERANCE:
        raise AudioError(
            f"is shorter than its header states: {found.seconds:.2f} s of {stated:.2f} s are present", "short"
        )


def _count(place: PathOrBytes, with_powers: bool) -> AudioMeasurement:
    """Count the samples by decoding the file."""
    last: ffmpeg.AudioFrame | None = None
    powers = _Powers()
    for frame in ffmpeg.decode_frames(place):
        last = frame
        if with_powers and frame.num_channels > 1:
            powers.add(frame.wave())
    if last is None:
        raise AudioError(ffmpeg.NO_SAMPLES, "short")
    return powers.annotate(
        AudioMeasurement(last.rate, last.start + last.num_samples, last.num_channels, is_counted=True)
    )


def _decode(place: PathOrBytes, start: Seconds, seconds: Seconds | None) -> DecodedAudio:
    """Decode a segment with FFmpeg."""
    waves: list[Wave] = []
    rate, codec, end = 0, "", 0.0
    for frame in ffmpeg.decode_frames(place, start=start):
        rate, codec = frame.rate, frame.codec
        first = samples_at(start, rate)
        end = inf if seconds is None else first + samples_at(seconds, rate)
        if frame.start >= end:
            break
        if frame.start + frame.num_samples > first:
            waves.append(frame.wave()[:, max(0, first - frame.start) : _slice_end(end - frame.start)])
    if not waves:
        raise AudioError(f"ends before {start:.2f} s" if rate else ffmpeg.NO_SAMPLES, "short")
    return DecodedAudio(np.concatenate(waves, axis=1), rate, codec == "opus")


def _slice_end(count: float) -> int | None:
    return None if count == inf else int(count)


class _Powers:
    """Sums of squares over the blocks of a file with several channels."""

    def __init__(self) -> None:
        self.count = 0
        self.channels: Any = 0.0
        self.average = 0.0

    def add(self, wave: Wave) -> None:
        """Add a block (C, N)."""
        self.count += wave.shape[1]
        self.channels = self.channels + np.square(wave, dtype=np.float64).sum(axis=1)
        self.average += float(np.square(wave.mean(axis=0), dtype=np.float64).sum())

    def annotate(self, measured: AudioMeasurement) -> AudioMeasurement:
        """Add the mean powers to a measurement; unchanged if no block was added."""
        if not self.count:
            return measured
        powers = tuple((self.channels / self.count).tolist())
        return replace(measured, powers=powers, mean_power=self.average / self.count)
