"""Decode files whose header states no exact length (MP3, AAC, Vorbis, Opus, AC-3 ...) with FFmpeg through PyAV.

The samples are those of the command ``ffmpeg`` of FFmpeg 9: encoder delay and padding are removed as the headers
specify. The command skips damage with a warning; here tags and padding between frames are accepted, but
frames that fail to decode, are truncated, or are fewer than a header counts raise an error.

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
"""Playlists and scripts are not included, because they open other files and URLs."""

DURATION_IN_HEADER = frozenset({"ape", "asf", "caf", "flac", "matroska", "mov", "tta", "wav", "wv"})
"""Demuxers that read the length from a header and do not estimate it from a bit rate."""

LEEWAY: Seconds = 0.1  # the length in a header may be rounded, or include the encoder delay
RAW_FORMATS = frozenset({"aac", "ac3", "eac3", "mp3"})  # streams of frames without a container
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
MAX_PADDING_SHARE = 0.25  # of a file, after its last frame
MPEG_CODECS = frozenset({"mp1", "mp2", "mp3"})
WITH_CHECKSUM = frozenset({"ac3", "eac3", "flac", "tta", "wavpack"})  # codecs with a checksum in every frame
PREROLL_FRAMES = 100
"""MP3 frames that are decoded before the requested ones.

A frame may use 511 bytes of the frames before it (the bit reservoir); 255 at rates under 32 kHz, where the
smallest frame of two channels has three bytes of its own.
"""
MAX_MPEG_SAMPLES = 1152  # of a frame
MAX_HEADER_BYTES = 7  # of the header of a raw frame: ADTS
MISCOUNTED_FRAMES = 2  # error of known Xing headers: some count their own frame
NO_LIMIT = 1 << 62
NO_SAMPLES = "holds no samples, or its header counts none"


class AudioFrame(NamedTuple):
    """Samples of one decoded frame, and their position in the file."""

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
    """Decode the frames of a file, in order.

    Args:
        place: a path, or the bytes of a file.
        start: MP3 is decoded from shortly before this time, every other format from the beginning.

    Raises:
        AudioError: the file cannot be decoded, is truncated or is damaged.
        ImportError: PyAV is not installed.
    """
    with _opened(place) as container:
        if container.streams.best("audio") is None or container.streams.best("audio").codec_context is None:
            raise AudioError("cannot be decoded (it holds no audio, or none of a known codec)")
        yield from _Decoder(container, place).frames(start)


@contextmanager
def _opened(place: str | BytesIO) -> Iterator[Any]:
    import av

    # "file:" keeps FFmpeg from reading a path such as concat:a|b as a URL.
    where = place if isinstance(place, BytesIO) else f"file:{place}"
    try:
        with av.open(where, options={"format_whitelist": DEMUXERS}) as container:
            yield container
    except av.error.FFmpegError as error:
        raise AudioError(f"cannot be decoded ({error.strerror})") from error


class _Decoder:
    """Decoder of one stream that checks it for damage."""

    def __init__(self, container: Any, place: str | BytesIO) -> None:
        self.container = container
        self.place = place
        self.stream = container.streams.best("audio")
        self.codec = self.stream.codec.canonical_name
        self.format = container.format.name.split(",")[0]
        self.is_raw = self.format in RAW_FORMATS
        if self.codec in WITH_CHECKSUM:
            self.stream.codec_context.options = {"err_detect": "crccheck+explode"}
        self.position = 0  # in samples
        self.rate_and_channels: tuple[int, int] | None = None
        self.num_frames = 0
        self.largest = 0  # bytes of a packet
        self.end = 0  # offset of the first byte after the last frame
        self.junk = 0  # bytes since the last frame that belong to no frame

    def frames(self, start: Seconds) -> Iterator[AudioFrame]:
        limit = self._track_samples()
        for packet in self._packets_from(start):
            for frame in self._decode(packet):
                count = min(frame.samples, max(0, limit - self.position))
                if count:
                    yield AudioFrame(self.position, count, *self._checked(frame), self.codec, frame)
                self.position += frame.samples
        self._check_end(min(self.position, limit))

    def _track_samples(self) -> int:
        """Number of samples at which an MP4 track ends, within its last frame.

        FFmpeg 9 applies it itself; it does not apply to Opus.
        """
        stream = self.stream
        is_exact = self.format == "mov" and stream.frames and stream.time_base.denominator == self._rate
        return stream.duration if is_exact and stream.duration and self.codec != "opus" else NO_LIMIT

    def _packets_from(self, start: Seconds) -> Iterator[Any]:
        """All packets; of MP3 those from shortly before the start on."""
        packets = self._packets()
        if self.codec not in MPEG_CODECS or start * self._rate <= PREROLL_FRAMES * MAX_MPEG_SAMPLES:
            yield from packets
            return
        position = 0
        for packet in packets:
            frame = headers.mpeg_frame(bytes(packet)[:4])
            if frame is None:
                continue
            position -= _delay(packet)
            self.position = (
                position  # set for every packet, because the first decoded ones may give no samples
            )
            if position + PREROLL_FRAMES * frame.num_samples >= start * self._rate:
                yield packet
            else:
                self.num_frames += 1
            position += frame.num_samples

    def _packets(self) -> Iterator[Any]:
        import av

        try:
            yield from self.container.demux(self.stream)
        except av.error.FFmpegError as error:
            raise AudioError(f"is damaged at {self._seconds:.2f} s ({error.strerror})") from error

    def _decode(self, packet: Any) -> list[Any]:
        """Decode a packet.

        Raises:
            AudioError: the packet is truncated, or cannot be decoded and is no tag.
        """
        import av

        try:
            frames: list[Any] = packet.decode()
        except av.error.FFmpegError as error:
            self._skip(packet, error)
            return []
        # After a frame that its parser rejected, FLAC gives frames without a timestamp.
        is_bad = any(frame.is_corrupt or (self.format == "flac" and frame.pts is None) for frame in frames)
        if is_bad or self._is_truncated(packet):
            raise AudioError(f"is truncated or damaged at {self._seconds:.2f} s", "short")
        if packet.size:
            if self.junk and self.num_frames:
                raise AudioError(f"is damaged at {self._seconds:.2f} s: {self.junk} bytes there are no audio")
            self.junk = 0
            self.num_frames += 1
            self.largest = max(self.largest, packet.size)
            self.end = (packet.pos or 0) + packet.size
        return frames

    def _skip(self, packet: Any, error: Any) -> None:
        """Skip a packet that cannot be decoded because it is no frame.

        Raises:
            AudioError: the packet is a frame.
        """
        head = bytes(packet)[:12]
        is_frame = not self.is_raw or _is_synchronised(head)
        # FFmpeg returns the last frame of AC-3 in one packet with the bytes that follow it.
        has_more = self.format in ("ac3", "eac3") and packet.size > self.largest + 2 > 2
        if packet.is_corrupt or (is_frame and not has_more):
            raise AudioError(
                f"is truncated or damaged at {self._seconds:.2f} s ({error.strerror})"
            ) from error
        self.junk += 0 if head.startswith(TAGS) else packet.size
        self.end += packet.size if has_more else 0

    def _is_truncated(self, packet: Any) -> bool:
        """Check whether a frame is shorter than its header states; PCM packets may have any length."""
        if packet.is_corrupt and not self.codec.startswith("pcm_"):
            return True
        head = bytes(packet)[:6]
        if self.codec in MPEG_CODECS:
            frame = headers.mpeg_frame(head)
            return frame is not None and packet.size < frame.num_bytes
        return self.format == "aac" and packet.size < (headers.adts_bytes(head) or 0)

    def _checked(self, frame: Any) -> tuple[int, int]:
        """Rate and number of channels of a frame.

        Raises:
            AudioError: they differ from those of the frames before.
        """
        now = (frame.sample_rate, len(frame.layout.channels))
        if self.rate_and_channels not in (None, now):
            raise AudioError(
                f"changes from {self.rate_and_channels} to {now} Hz and channels at {self._seconds:.2f} s; "
                f"encode the file again"
            )
        self.rate_and_channels = now
        return now

    def _check_end(self, num_samples: int) -> None:
        """Compare the number of decoded samples and frames with the headers.

        Raises:
            AudioError: the file has fewer than its headers state.
        """
        if not num_samples:
            raise AudioError(NO_SAMPLES, "short")
        if self.junk > MAX_PADDING_SHARE * self.container.size:
            raise AudioError(
                f"is truncated at {self._seconds:.2f} s: the {self.junk} bytes after it are no audio", "short"
            )
        stated = self._stated_seconds()
        if num_samples < (stated - LEEWAY) * self._rate:
            raise AudioError(
                f"is shorter than its header states: {num_samples / self._rate:.2f} s of {stated:.2f} s are present",
                "short",
            )
        with _as_file(self.place) as file:
            damage = headers.ogg_damage(file) if self.format == "ogg" else None
            counted = headers.xing_frames(file) if self.format == "mp3" else None
            file.seek(self.end)
            rest = file.read(MAX_HEADER_BYTES) if self.is_raw else b""
        if damage is not None:
            raise AudioError(damage, "short")
        if counted is not None and self.num_frames < counted - MISCOUNTED_FRAMES:
            raise AudioError(
                f"is shorter than its header states: {self.num_frames} of {counted} frames are present",
                "short",
            )
        # FFmpeg skips a last frame that is shorter than a frame header.
        is_frame = rest[:2].ljust(2, b"\xff") >= b"\xff\xe0" or rest.startswith(b"\x0b\x77")
        if 0 < len(rest) < MAX_HEADER_BYTES and is_frame:
            raise AudioError(f"is truncated at {self._seconds:.2f} s, within a frame", "short")

    def _stated_seconds(self) -> Seconds:
        """Length in the header, 0 if it states none."""
        if self.format not in DURATION_IN_HEADER:
            return 0.0
        if self.stream.duration is not None:
            return float(self.stream.duration * self.stream.time_base)
        is_alone = len(self.container.streams) == 1
        return (self.container.duration or 0) / 1e6 if is_alone else 0.0

    @property
    def _rate(self) -> int:
        known = self.rate_and_channels
        rate: int = known[0] if known else self.stream.codec_context.sample_rate
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
    """Encoder delay: samples at the start that the decoder skips."""
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
