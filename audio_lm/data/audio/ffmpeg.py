"""FFmpeg's decoders, through PyAV, for files whose header states no exact length: MP3, AAC, Vorbis, Opus, AC-3 ...

Samples are those that the command ``ffmpeg`` of FFmpeg 9 gives: encoder delay and padding are cut off as
headers ask. What the command passes over with a warning is told apart here: tags and padding between frames
are no damage; frames that fail, that are not whole, or that are fewer than a header counts, are.

Source: PyAV 18.1 over FFmpeg 8.1; AV_PKT_DATA_SKIP_SAMPLES of libavcodec/packet.h.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from audio_lm.common.audio_units import Seconds
from audio_lm.data.audio import headers
from audio_lm.data.audio.errors import AudioError

DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,g722,iff,ircam,loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,"
    "nistsphere,ogg,qcp,rm,sox,tak,truehd,tta,voc,w64,wav,webm,wv"
)
"""Playlists and scripts, which open other files and addresses, are not among them."""

STATING = frozenset({"ape", "asf", "caf", "flac", "matroska", "mov", "tta", "wav", "wv"})
"""Demuxers that read the length from a header and do not estimate it from a bit rate."""

LEEWAY: Seconds = 0.1  # such a length may be rounded, or count the encoder's delay
BARE = frozenset({"aac", "ac3", "eac3", "mp3"})  # frame after frame, without a container
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
MAX_PADDING_SHARE = 0.25  # of a file, behind its last frame
MPEG_CODECS = frozenset({"mp1", "mp2", "mp3"})
SUMMED = frozenset({"ac3", "eac3", "flac", "tta", "wavpack"})  # codecs whose every frame has a checksum
RUN_UP = 100
"""Frames of MP3 that are decoded before those that are wanted.

A frame may use 511 bytes of those before it; at rates under 32 kHz it is 255, and the smallest
frame of two channels has three of its own.
"""
MAX_MPEG_SAMPLES = 1152  # of a frame
MAX_HEADER_BYTES = 7  # bytes of the longest header of a bare frame, that of ADTS
MISCOUNTED_FRAMES = 2  # frames by which Xing headers are known to be off: some count themselves
NO_LIMIT = 1 << 62
NO_SAMPLES = "holds no samples, or its header counts none"


class AudioFrame(NamedTuple):
    """Samples of a file, in their place."""

    start: int
    num_samples: int
    rate: int
    num_channels: int
    codec: str
    frame: Any  # of PyAV; may hold more samples

    def wave(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(C, N) float32; full scale is 1."""
        values = self.frame.to_ndarray()
        if not self.frame.format.is_planar:
            values = values.reshape(-1, self.num_channels).T
        return _as_float(values[:, : self.num_samples])


def decode_frames(place: str | BytesIO, *, start: Seconds = 0.0) -> Iterator[AudioFrame]:
    """Decode a file, in order.

    Args:
        place: a path, or the bytes of a file.
        start: MP3 is decoded from shortly before it, everything else from the beginning.

    Raises:
        AudioError: it cannot be decoded, breaks off or is damaged.
        ImportError: PyAV is not installed.
    """
    with _opened(place) as container:
        if container.streams.best("audio") is None or container.streams.best("audio").codec_context is None:
            raise AudioError("cannot be decoded (it holds no audio, or none of a known codec)")
        yield from _Decoder(container, place).frames(start)


@contextmanager
def _opened(place: str | BytesIO) -> Iterator[Any]:
    import av

    # "file:" keeps FFmpeg from reading a path such as concat:a|b as an address.
    where = place if isinstance(place, BytesIO) else f"file:{place}"
    try:
        with av.open(where, options={"format_whitelist": DEMUXERS}) as container:
            yield container
    except av.error.FFmpegError as error:
        raise AudioError(f"cannot be decoded ({error.strerror})") from error


class _Decoder:
    """The packets of one stream, and what shows on the way that the file is damaged."""

    def __init__(self, container: Any, place: str | BytesIO) -> None:
        self.container = container
        self.place = place
        self.stream = container.streams.best("audio")
        self.codec = self.stream.codec.canonical_name
        self.format = container.format.name.split(",")[0]
        self.is_bare = self.format in BARE
        if self.codec in SUMMED:
            self.stream.codec_context.options = {"err_detect": "crccheck+explode"}
        self.position = 0
        self.facts: tuple[int, int] | None = None  # rate and channels
        self.num_frames = 0
        self.largest = 0  # bytes of a packet
        self.end = 0  # byte behind the last frame
        self.junk = 0  # bytes since the last frame that are none

    def frames(self, start: Seconds) -> Iterator[AudioFrame]:
        limit = self._length_of_track()
        for packet in self._from(start):
            for frame in self._frames(packet):
                count = min(frame.samples, max(0, limit - self.position))
                if count:
                    yield AudioFrame(self.position, count, *self._checked(frame), self.codec, frame)
                self.position += frame.samples
        self._check_end(min(self.position, limit))

    def _length_of_track(self) -> int:
        """Where the last frame of an MP4 is cut; FFmpeg 9 does so itself, for Opus neither does."""
        stream = self.stream
        is_exact = self.format == "mov" and stream.frames and stream.time_base.denominator == self._rate
        return stream.duration if is_exact and stream.duration and self.codec != "opus" else NO_LIMIT

    def _from(self, start: Seconds) -> Iterator[Any]:
        """All packets, or of MP3 those shortly before the start and on."""
        packets = self._packets()
        if self.codec not in MPEG_CODECS or start * self._rate <= RUN_UP * MAX_MPEG_SAMPLES:
            yield from packets
            return
        place = 0
        for packet in packets:
            frame = headers.mpeg_frame(bytes(packet)[:4])
            if frame is None:
                continue
            place -= _delay(packet)
            self.position = place  # the first of them may make no sound, so nothing follows from the last one
            if place + RUN_UP * frame.num_samples >= start * self._rate:
                yield packet
            else:
                self.num_frames += 1
            place += frame.num_samples

    def _packets(self) -> Iterator[Any]:
        import av

        try:
            yield from self.container.demux(self.stream)
        except av.error.FFmpegError as error:
            raise AudioError(f"is damaged at {self._seconds:.2f} s ({error.strerror})") from error

    def _frames(self, packet: Any) -> list[Any]:
        """The sound of a packet.

        Raises:
            AudioError: it is not whole, or fails and is no tag.
        """
        import av

        try:
            frames: list[Any] = packet.decode()
        except av.error.FFmpegError as error:
            self._pass_over(packet, error)
            return []
        # Behind a frame that its parser took for none, FLAC gives frames without a time.
        is_bad = any(frame.is_corrupt or (self.format == "flac" and frame.pts is None) for frame in frames)
        if is_bad or self._is_cut(packet):
            raise AudioError(f"breaks off or is damaged at {self._seconds:.2f} s", "short")
        if packet.size:
            if self.junk and self.num_frames:
                raise AudioError(f"is damaged at {self._seconds:.2f} s: {self.junk} bytes there are no sound")
            self.junk = 0
            self.num_frames += 1
            self.largest = max(self.largest, packet.size)
            self.end = (packet.pos or 0) + packet.size
        return frames

    def _pass_over(self, packet: Any, error: Any) -> None:
        """Go on behind what is no frame.

        Raises:
            AudioError: it is one.
        """
        head = bytes(packet)[:12]
        is_frame = not self.is_bare or _is_synchronised(head)
        # FFmpeg hands the last frame of AC-3 over together with what follows it.
        has_more = self.format in ("ac3", "eac3") and packet.size > self.largest + 2 > 2
        if packet.is_corrupt or (is_frame and not has_more):
            raise AudioError(
                f"breaks off or is damaged at {self._seconds:.2f} s ({error.strerror})"
            ) from error
        self.junk += 0 if head.startswith(TAGS) else packet.size
        self.end += packet.size if has_more else 0

    def _is_cut(self, packet: Any) -> bool:
        """Whether a frame is shorter than it says itself; uncompressed ones may have any length."""
        if packet.is_corrupt and not self.codec.startswith("pcm_"):
            return True
        head = bytes(packet)[:6]
        if self.codec in MPEG_CODECS:
            frame = headers.mpeg_frame(head)
            return frame is not None and packet.size < frame.num_bytes
        return self.format == "aac" and packet.size < (headers.adts_bytes(head) or 0)

    def _checked(self, frame: Any) -> tuple[int, int]:
        """Rate and channels, which stay the same."""
        facts = (frame.sample_rate, len(frame.layout.channels))
        if self.facts not in (None, facts):
            raise AudioError(
                f"changes from {self.facts} to {facts} Hz and channels at {self._seconds:.2f} s; write it anew"
            )
        self.facts = facts
        return facts

    def _check_end(self, num_samples: int) -> None:
        """Compare all that was decoded with what is stated.

        Raises:
            AudioError: it is less.
        """
        if not num_samples:
            raise AudioError(NO_SAMPLES, "short")
        if self.junk > MAX_PADDING_SHARE * self.container.size:
            raise AudioError(
                f"breaks off at {self._seconds:.2f} s: {self.junk} bytes behind it are no sound", "short"
            )
        stated = self._stated_seconds()
        if num_samples < (stated - LEEWAY) * self._rate:
            raise AudioError(
                f"ends before its header says: {num_samples / self._rate:.2f} s of {stated:.2f} s are there",
                "short",
            )
        with _as_file(self.place) as file:
            damage = headers.ogg_damage(file) if self.format == "ogg" else None
            counted = headers.xing_frames(file) if self.format == "mp3" else None
            file.seek(self.end)
            behind = file.read(MAX_HEADER_BYTES) if self.is_bare else b""
        if damage is not None:
            raise AudioError(damage, "short")
        if counted is not None and self.num_frames < counted - MISCOUNTED_FRAMES:
            raise AudioError(
                f"ends before its header says: {self.num_frames} of {counted} frames are there", "short"
            )
        # FFmpeg passes over what is shorter than the header of a frame.
        is_begun = behind[:2].ljust(2, b"\xff") >= b"\xff\xe0" or behind.startswith(b"\x0b\x77")
        if 0 < len(behind) < MAX_HEADER_BYTES and is_begun:
            raise AudioError(f"breaks off at {self._seconds:.2f} s, within a frame", "short")

    def _stated_seconds(self) -> Seconds:
        """The length in a header, 0 where none states it."""
        if self.format not in STATING:
            return 0.0
        if self.stream.duration is not None:
            return float(self.stream.duration * self.stream.time_base)
        is_alone = len(self.container.streams) == 1
        return (self.container.duration or 0) / 1e6 if is_alone else 0.0

    @property
    def _rate(self) -> int:
        rate: int = self.facts[0] if self.facts else self.stream.codec_context.sample_rate
        return rate

    @property
    def _seconds(self) -> Seconds:
        return self.position / self._rate


@contextmanager
def _as_file(place: str | BytesIO) -> Iterator[BinaryIO]:
    if isinstance(place, BytesIO):
        yield place
        return
    with open(place, "rb") as file:
        yield file


def _is_synchronised(head: bytes) -> bool:
    return (
        headers.mpeg_frame(head) is not None
        or headers.adts_bytes(head) is not None
        or head[:2] == b"\x0b\x77"
    )


def _delay(packet: Any) -> int:
    """Samples at the beginning that the encoder made and the decoder leaves out."""
    for data in packet.iter_sidedata():
        if data.data_type == "skip_samples":
            return int.from_bytes(bytes(data)[:4], "little")
    return 0


def _as_float(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    if values.dtype == np.uint8:
        return ((values.astype(np.float32) - 128) / 128).astype(np.float32)
    if values.dtype.kind == "i":
        return (values / -float(np.iinfo(values.dtype).min)).astype(np.float32)
    return values.astype(np.float32)
