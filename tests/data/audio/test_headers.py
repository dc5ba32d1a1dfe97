import io

import pytest

from audio_lm.data.audio.headers import (
    adts_bytes,
    data_of,
    id3_bytes,
    is_sndfile,
    mpeg_frame,
    ogg_damage,
    xing_frames,
)
from tests.data.audio_files import id3v2, sound_file, tone, wav_of_size

WAVE = tone(16_000, 2)
NUM_BYTES = WAVE.shape[0] * 4
VORBIS = sound_file(WAVE, 16_000, "OGG", "VORBIS")


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "NIST"])
def test_stated_and_present_sample_bytes_are_found(container):
    content = sound_file(WAVE, 16_000, container)
    assert is_sndfile(content[:16])
    whole = data_of(io.BytesIO(content))
    assert whole.present == whole.stated
    assert 0 <= whole.stated - NUM_BYTES <= 8  # AIFF has an offset before them
    half = data_of(io.BytesIO(content[: len(content) // 2]))
    assert half.stated == whole.stated
    assert half.present < 0.6 * NUM_BYTES


@pytest.mark.parametrize("size", [0, 0x7FFF0000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_the_open_size_of_a_pipe_counts_as_not_stated(size):
    found = data_of(io.BytesIO(wav_of_size(WAVE, 16_000, size)))
    assert found == (None, NUM_BYTES)


def test_malformed_headers_state_no_length():
    for content in (
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0WAVE" + bytes(8) * 20_000,
        b"NIST_1A\n   1024\n",
    ):
        assert data_of(io.BytesIO(content)) is None


def test_frame_lengths_of_mp3_and_adts_are_parsed():
    assert mpeg_frame(bytes.fromhex("fffb9064")).num_bytes == 417
    assert mpeg_frame(bytes.fromhex("fff348c4")).num_samples == 576
    assert mpeg_frame(b"TAG ") is None
    assert mpeg_frame(b"\xff") is None
    assert adts_bytes(bytes.fromhex("fff150800e7ffc")) == 115
    assert adts_bytes(b"ID3\3\0\0") is None


def test_the_frame_count_is_found_after_a_tag_and_only_if_present():
    frame = bytes.fromhex("fffb9064") + bytes(32)
    counted = frame + b"Xing" + (1).to_bytes(4) + (123).to_bytes(4) + bytes(400)
    assert xing_frames(io.BytesIO(counted)) == 123
    assert xing_frames(io.BytesIO(id3v2() + counted)) == 123
    assert xing_frames(io.BytesIO(frame + b"Info" + bytes(400))) is None
    assert xing_frames(io.BytesIO(frame + b"VBRI" + bytes(10) + (7).to_bytes(4) + bytes(9))) == 7
    assert xing_frames(io.BytesIO(bytes(500))) is None
    assert id3_bytes(id3v2(1014)) == 1024


def test_complete_ogg_pages_are_accepted_whatever_follows_them():
    assert ogg_damage(io.BytesIO(VORBIS)) is None
    assert ogg_damage(io.BytesIO(VORBIS + b"TAG" + bytes(125))) is None
    assert ogg_damage(io.BytesIO(VORBIS + VORBIS)) is None  # one stream after another


def test_damaged_missing_and_truncated_pages_are_found():
    assert "is truncated" in ogg_damage(io.BytesIO(VORBIS[:-5]))
    flipped = bytearray(VORBIS)
    flipped[len(VORBIS) // 2] ^= 1
    assert "damaged" in ogg_damage(io.BytesIO(flipped))
    pages = [at for at in range(len(VORBIS)) if VORBIS.startswith(b"OggS", at)]
    assert "page missing" in ogg_damage(io.BytesIO(VORBIS[: pages[1]] + VORBIS[pages[2] :]))
