"""Parse headers of audio files and detect truncated files, without decoding.

Uncompressed containers state an exact length, so a file with fewer bytes is truncated. Truncated compressed files
are recognised by an incomplete MPEG or ADTS frame, or by an incomplete or damaged Ogg page.

Source: RFC 3533 (Ogg), ISO/IEC 11172-3 and 13818-3 (MPEG audio), ISO/IEC 14496-3 1.A (ADTS), EBU Tech 3306 (RF64),
EA IFF 85 (AIFF), Apple's CAF 1.0, Sony's Wave64, NIST SPHERE 2.6; id3.org for tags, gabriel.mp3-tech.org for Xing.
"""

import re
import struct
import zlib
from typing import BinaryIO, NamedTuple

MAX_HEAD_BYTES = 1 << 16  # bytes that are searched for the first frame, or for a text header
MAX_CHUNKS = 10_000
OPEN_SIZE = {"I": 0x7FFF0000, "Q": 1 << 62}
"""Sizes from these on mean "unknown": the writer could not seek back in a pipe to write the real size."""


class Layout(NamedTuple):
    """Chunk layout of a container."""

    first: int  # offset of the first chunk
    name: int  # bytes of a chunk's name
    size: str  # ``struct`` format of a chunk's size
    samples: bytes  # name of the chunk with the samples
    counts_itself: bool  # True if a size includes the fields name and size
    align: int


LAYOUTS = {
    b"RIFF": Layout(12, 4, "<I", b"data", False, 2),
    b"RIFX": Layout(12, 4, ">I", b"data", False, 2),
    b"RF64": Layout(12, 4, "<I", b"data", False, 2),
    b"BW64": Layout(12, 4, "<I", b"data", False, 2),
    b"FORM": Layout(12, 4, ">I", b"SSND", False, 2),
    b"riff": Layout(40, 16, "<Q", b"data", True, 8),
    b"caff": Layout(8, 4, ">Q", b"data", False, 1),
}
SPHERE = b"NIST_1A"
SNDFILE = (b"WAVE", b"AIFF", b"AIFC", b"8SVX")  # kinds of RIFF and FORM that libsndfile knows


class Data(NamedTuple):
    """Number of bytes with samples in a file."""

    stated: int | None  # by the header; None if it leaves the size open
    present: int


def is_sndfile(head: bytes) -> bool:
    """True if libsndfile reads the container and the header states an exact length.

    Args:
        head: first bytes of the file, 16 or more.
    """
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM"):
        return head[8:12] in SNDFILE
    return head.startswith((b"riff\x2e\x91\xcf\x11", b"caff", b".snd", b"dns.", b"fLaC", SPHERE))


def id3_bytes(head: bytes) -> int:
    """Length of the ID3v2 tag at the start of a file, 0 if there is none."""
    if len(head) < 10 or not head.startswith(b"ID3"):
        return 0
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte & 0x7F
    return length + (20 if head[5] & 0x10 else 10)


def data_of(file: BinaryIO) -> Data | None:
    """Number of sample bytes stated and present; None if the container does not state it."""
    num_bytes = file.seek(0, 2)
    file.seek(0)
    head = file.read(24)
    if head[:4] in (b".snd", b"dns."):
        start, stated = struct.unpack(">II" if head[:4] == b".snd" else "<II", head[4:12])
        return _data(start, stated, "I", num_bytes)
    if head.startswith(SPHERE):
        return _sphere(file, num_bytes)
    layout = LAYOUTS.get(head[:4])
    return None if layout is None else _find_sample_chunk(file, layout, num_bytes)


def _data(start: int, stated: int, width: str, num_bytes: int) -> Data:
    present = max(0, num_bytes - start)
    is_open = stated == 0 or (stated >= OPEN_SIZE[width] and stated > present)
    return Data(None if is_open else stated, present if is_open else min(present, stated))


def _find_sample_chunk(file: BinaryIO, layout: Layout, num_bytes: int) -> Data | None:
    offset, long_size = layout.first, None
    length = layout.name + struct.calcsize(layout.size)
    for _ in range(MAX_CHUNKS):
        file.seek(offset)
        head = file.read(length)
        if len(head) < length:
            return None
        (size,) = struct.unpack(layout.size, head[layout.name :])
        size = max(0, size - length) if layout.counts_itself else size
        if head.startswith(b"ds64"):
            long_size = struct.unpack("<Q", file.read(16)[8:].ljust(8, b"\0"))[0]
        if head.startswith(layout.samples):
            if long_size is not None and size == 0xFFFFFFFF:
                return _data(offset + length, long_size, "Q", num_bytes)
            return _data(offset + length, size, layout.size[1], num_bytes)
        offset += length + size + -size % layout.align
    return None


def _sphere(file: BinaryIO, num_bytes: int) -> Data | None:
    file.seek(0)
    text = file.read(MAX_HEAD_BYTES)
    length = re.match(rb"NIST_1A\s+(\d+)", text)
    counts = dict(re.findall(rb"(sample_count|sample_n_bytes|channel_count) -i (\d+)", text[:4096]))
    if length is None or len(counts) < 3 or b"-s3 pcm" not in text[:4096]:
        return None  # compressed, or without a count
    stated = int(counts[b"sample_count"]) * int(counts[b"sample_n_bytes"]) * int(counts[b"channel_count"])
    return _data(int(length[1]), stated, "Q", num_bytes)


class MpegFrame(NamedTuple):
    """Header of an MPEG audio frame (four bytes)."""

    version: int  # 1, 2, or 25 for 2.5
    layer: int
    is_mono: bool
    num_bytes: int  # 0 for a free-format bit rate
    num_samples: int


_KBIT = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)


def mpeg_frame(head: bytes) -> MpegFrame | None:
    """Parse an MPEG frame header; None if the bytes are no frame header.

    >>> mpeg_frame(bytes.fromhex("fffb50c0"))
    MpegFrame(version=1, layer=3, is_mono=True, num_bytes=208, num_samples=1152)
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version = (25, 0, 2, 1)[head[1] >> 3 & 3]
    layer = 4 - (head[1] >> 1 & 3)
    kbit, rate = head[2] >> 4, head[2] >> 2 & 3
    if not version or layer == 4 or kbit == 15 or rate == 3:
        return None
    row = (1, layer) if version == 1 else (2, min(layer, 2))
    bits = _KBIT[row][kbit] * 1000
    per_second = _RATES[rate] // {1: 1, 2: 2, 25: 4}[version]
    padding = head[2] >> 1 & 1
    if layer == 1:
        num_samples, num_bytes = 384, (12 * bits // per_second + padding) * 4
    else:
        num_samples = 576 if layer == 3 and version != 1 else 1152
        num_bytes = num_samples // 8 * bits // per_second + padding
    return MpegFrame(version, layer, head[3] >> 6 == 3, num_bytes if bits else 0, num_samples)


def adts_bytes(head: bytes) -> int | None:
    """Length of an ADTS frame from its header; None if the bytes are no frame header."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5


def xing_frames(file: BinaryIO) -> int | None:
    """Number of frames that the first frame of an MP3 states (Xing, Info or VBRI); None without such a header."""
    file.seek(0)
    offset = id3_bytes(file.read(10))
    file.seek(offset)
    head = file.read(MAX_HEAD_BYTES)
    for found in re.finditer(rb"\xff[\xe2-\xff]", head):
        frame = mpeg_frame(head[found.start() :][:4])
        if frame is not None:
            return _stated_frames(head[found.start() :], frame)
    return None


def _stated_frames(head: bytes, frame: MpegFrame) -> int | None:
    side = (17 if frame.is_mono else 32) if frame.version == 1 else (9 if frame.is_mono else 17)
    tag = head[4 + side :][:12]
    if tag[:4] in (b"Xing", b"Info") and len(tag) == 12 and tag[7] & 1:
        return int.from_bytes(tag[8:12])
    if head[36:40] == b"VBRI" and len(head) >= 54:
        return int.from_bytes(head[50:54])
    return None


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FIRST_PAGE, _LAST_PAGE = 2, 4


def ogg_damage(file: BinaryIO) -> str | None:
    """Find a damaged, missing or incomplete page of an Ogg file; None if there is none."""
    num_bytes = file.seek(0, 2)
    offset, is_last, numbers = 0, False, dict[int, int]()
    while offset < num_bytes:
        file.seek(offset)
        page = file.read(27)
        if page[:4] != b"OggS":
            # Tags and padding after the last page are no audio.
            return None if is_last else f"is damaged at byte {offset}"
        page += file.read(page[26] if len(page) == 27 else 0)
        length = len(page) + sum(page[27:])
        page += file.read(length - len(page))
        if len(page) < max(length, 28) or offset + length > num_bytes:
            return "is truncated within a page"
        flags, serial, number, stated = page[5], *struct.unpack("<III", page[14:26])
        if _ogg_checksum(page) != stated:
            return f"is damaged at byte {offset}"
        if not flags & _FIRST_PAGE and number != numbers.get(serial, number - 1) + 1:
            return f"has a page missing before byte {offset}"
        numbers[serial] = number
        is_last = bool(flags & _LAST_PAGE)
        offset += length
    return None


def _ogg_checksum(page: bytes) -> int:
    """Checksum of a page, computed with its own checksum field set to zero.

    It is the CRC-32 polynomial of zip with reversed bits, without the initial and final inversion.
    """
    zeroed = page[:22] + bytes(4) + page[26:]
    reflected = zlib.crc32(zeroed.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
