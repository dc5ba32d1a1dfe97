"""The one way from an audio file to samples: whoever imports, checks, trains on or reports a clip decodes it here.

The bytes of a file, not its name, decide which decoder reads it: libsndfile where the header states an exact
length (WAV, RF64, Wave64, AIFF, AU, CAF, SPHERE, FLAC), else FFmpeg. Headers of compressed files are
estimates, so their samples are counted by decoding them.
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

TOLERANCE: Seconds = 0.025  # by which a file may differ from what is said of its length
EDGE: Seconds = 0.1  # decoded at both ends of a file whose header can be believed
BLOCK = 1 << 16  # samples that are decoded at once, where only their power is wanted

Wave = np.ndarray[Any, np.dtype[np.float32]]
PathOrBytes = str | BytesIO
"""A path, or the bytes of a file."""


@dataclass(frozen=True)
class AudioMeasurement:
    """What is known of a file after a look at all of it."""

    rate: int
    num_samples: int
    num_channels: int
    is_counted: bool
    """By decoding; else the header states it and the bytes are there."""

    powers: tuple[float, ...] = ()
    """Mean square of every channel, where it was asked for and there are several."""

    mean_power: float = 0.0
    """Of the average of the channels."""

    @property
    def seconds(self) -> Seconds:
        """Its length."""
        return self.num_samples / self.rate


class DecodedAudio(NamedTuple):
    """Samples of a file."""

    wave: Wave  # (C, N)
    rate: int
    is_any_rate: bool = False  # Opus has none of its own; it is decoded at 48 kHz


def measure(place: PathOrBytes, *, name: str = "", with_powers: bool = False) -> AudioMeasurement:
    """Look at a whole file.

    Args:
        name: what it is called in messages, where it is bytes.
        with_powers: decode files of several channels to the end and measure each channel.

    Raises:
        AudioError: it is missing, no audio, damaged, or shorter than its header says.
        UserError: the package that decodes it is not installed.
    """
    with _named(name or place), _sound(place) as sound:
        try:
            found = _counted(place, with_powers) if sound is None else _measured(sound, with_powers)
        except ImportError as error:
            what = f"reading {name or place}, which is no WAV, FLAC or AIFF,"
            raise missing_extra("av", extra="codecs", purpose=what) from error
        _check_all_there(place, found)
        return found


def read(
    place: PathOrBytes, start: Seconds = 0.0, seconds: Seconds | None = None, *, name: str = ""
) -> DecodedAudio:
    """Decode a stretch of a file.

    Args:
        seconds: to its end where none are given.

    Returns:
        float32, full scale is 1; fewer samples where the file ends before.

    Raises:
        AudioError: it is missing, or cannot be decoded.
    """
    with _named(name or place), _sound(place) as sound:
        if sound is None:
            return _decoded(place, start, seconds)
        first = samples_at(start, sound.samplerate)
        if first > sound.frames:
            raise AudioError(
                f"ends at {sound.frames / sound.samplerate:.2f} s, before {start:.2f} s", "short"
            )
        sound.seek(first)
        count = -1 if seconds is None else samples_at(seconds, sound.samplerate)
        return DecodedAudio(sound.read(count, dtype="float32", always_2d=True).T, sound.samplerate)


def samples_at(seconds: Seconds, rate: int) -> int:
    """Samples in so many seconds, halves rounded up as lhotse does."""
    return floor(round(seconds * rate, 8) + 0.5)


@contextmanager
def _named(place: PathOrBytes | str) -> Iterator[None]:
    """Tell which file an error is about, and make one of whatever a decoder raises."""
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
    except Exception as error:  # decoders raise all kinds on bytes that nobody has thought of
        raise AudioError(f"{where} cannot be read ({type(error).__name__}: {error})") from error


@contextmanager
def _sound(place: PathOrBytes) -> Iterator[soundfile.SoundFile | None]:
    """A file as libsndfile opens it; none where FFmpeg has to decode it."""
    with _regular(place) as file:
        head = file.read(16)
        if tag := headers.id3_bytes(head):
            file.seek(tag)
            head = file.read(16)
        file.seek(0)
        sound = _opened(place, file) if headers.is_sndfile(head) else None
        if sound is None:
            file.seek(0)  # libsndfile leaves its place where it gave up
            yield None
            return
        with sound:
            yield sound


@contextmanager
def _regular(place: PathOrBytes) -> Iterator[BinaryIO]:
    """A file that is one: to open a pipe or a device may take for ever."""
    if isinstance(place, BytesIO):
        place.seek(0)
        yield place
        return
    try:
        number = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise AudioError("is missing", "missing") from error
    with open(number, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise AudioError("is no regular file")
        yield file


def _opened(place: PathOrBytes, file: BinaryIO) -> soundfile.SoundFile | None:
    """Opened by libsndfile, unless it knows the codec or the length no better than FFmpeg."""
    has_ffmpeg = find_spec("av") is not None
    try:
        sound = soundfile.SoundFile(place if isinstance(place, BytesIO) else file.fileno(), closefd=False)
    except soundfile.LibsndfileError:
        if has_ffmpeg:
            return None
        raise
    if not sound.subtype.startswith("MPEG") and 0 < sound.frames < 1 << 62:
        return sound
    with sound:
        if has_ffmpeg or sound.frames:
            return None
    raise AudioError(ffmpeg.NO_SAMPLES, "short")


def _measured(sound: soundfile.SoundFile, with_powers: bool) -> AudioMeasurement:
    """What a header states, after both ends of the file were decoded."""
    rate, frames = sound.samplerate, sound.frames
    edge = min(frames, round(EDGE * rate))
    sound.seek(0)
    sound.read(edge)
    sound.seek(frames - edge)
    if len(sound.read(edge)) < edge:
        raise AudioError("ends before its header says", "short")
    powers = _Powers()
    if with_powers and sound.channels > 1:
        sound.seek(0)
        for block in sound.blocks(BLOCK, dtype="float32", always_2d=True):
            powers.add(block.T)
    return powers.annotate(AudioMeasurement(rate, frames, sound.channels, is_counted=False))


def _check_all_there(place: PathOrBytes, found: AudioMeasurement) -> None:
    """Compare the bytes of samples with those that a header states.

    Raises:
        AudioError: the file is shorter than its header says.
    """
    # A view of its own, because libsndfile keeps its place in the other one.
    with _regular(BytesIO(place.getvalue()) if isinstance(place, BytesIO) else place) as file:
        data = headers.data_of(file)
    if data is None or data.stated is None or data.there >= data.stated:
        return
    stated = found.seconds * data.stated / max(1, data.there)
    if stated - found.seconds > TOLERANCE:
        raise AudioError(
            f"ends before its header says: {found.seconds:.2f} s of {stated:.2f} s are there", "short"
        )


def _counted(place: PathOrBytes, with_powers: bool) -> AudioMeasurement:
    """The samples that a decoder gives."""
    last: ffmpeg.AudioFrame | None = None
    powers = _Powers()
    for piece in ffmpeg.decode_frames(place):
        last = piece
        if with_powers and piece.num_channels > 1:
            powers.add(piece.wave())
    if last is None:
        raise AudioError(ffmpeg.NO_SAMPLES, "short")
    return powers.annotate(
        AudioMeasurement(last.rate, last.start + last.num_samples, last.num_channels, is_counted=True)
    )


def _decoded(place: PathOrBytes, start: Seconds, seconds: Seconds | None) -> DecodedAudio:
    """A stretch, from the pieces that it lies in."""
    waves: list[Wave] = []
    rate, codec, end = 0, "", 0.0
    for piece in ffmpeg.decode_frames(place, start=start):
        rate, codec = piece.rate, piece.codec
        first = samples_at(start, rate)
        end = inf if seconds is None else first + samples_at(seconds, rate)
        if piece.start >= end:
            break
        if piece.start + piece.num_samples > first:
            waves.append(piece.wave()[:, max(0, first - piece.start) : _most(end - piece.start)])
    if not waves:
        raise AudioError(f"ends before {start:.2f} s" if rate else ffmpeg.NO_SAMPLES, "short")
    return DecodedAudio(np.concatenate(waves, axis=1), rate, codec == "opus")


def _most(count: float) -> int | None:
    return None if count == inf else int(count)


class _Powers:
    """Sums over blocks of a file of several channels."""

    def __init__(self) -> None:
        self.count = 0
        self.channels: Any = 0.0
        self.average = 0.0

    def add(self, wave: Wave) -> None:
        """Add a block of (C, N)."""
        self.count += wave.shape[1]
        self.channels = self.channels + np.square(wave, dtype=np.float64).sum(axis=1)
        self.average += float(np.square(wave.mean(axis=0), dtype=np.float64).sum())

    def annotate(self, measured: AudioMeasurement) -> AudioMeasurement:
        """Add the powers of the blocks to a measurement, if there were any."""
        if not self.count:
            return measured
        powers = tuple((self.channels / self.count).tolist())
        return replace(measured, powers=powers, mean_power=self.average / self.count)
