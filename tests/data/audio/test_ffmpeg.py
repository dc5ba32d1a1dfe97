import io

import numpy as np
import pytest
import soundfile

from audio_lm.data.audio import decode, ffmpeg
from audio_lm.data.audio.errors import AudioError
from tests.data.audio_files import ape, id3v2, tone
from tests.data.audio_files import ffmpeg as command


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Write a file with ffmpeg options."""
    folder = tmp_path_factory.mktemp("made")
    soundfile.write(folder / "source.wav", tone(22_050, 1, 9.0), 22_050)

    def make(name, options):
        command("-i", str(folder / "source.wav"), *options.split(), str(folder / name))
        return folder / name

    return make


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cbr.mp3", "-b:a 32k"),
        ("low.mp3", "-b:a 8k -ar 8000 -write_xing 0"),
        ("vbr.mp3", "-q:a 7 -write_xing 0"),
        ("a.m4a", "-c:a aac"),
        ("a.ogg", "-c:a libvorbis"),
        ("a.webm", "-c:a libopus"),
    ],
)
def test_a_segment_equals_that_part_of_the_whole_file(made, name, options):
    path = str(made(name, options))
    whole, rate, _ = decode.read(path)
    for start, seconds in ((0.0, 0.01), (0.6, 1.1), (1.7, 0.5), (3.25, 2.0), (8.9, 0.09)):
        first, count = decode.samples_at(start, rate), decode.samples_at(seconds, rate)
        part = decode.read(path, start, seconds).wave
        np.testing.assert_array_equal(part, whole[:, first : first + count])


def test_the_end_of_a_long_mp3_is_read_without_decoding_its_start(made, monkeypatch):
    path = str(made("long.mp3", "-b:a 64k"))
    decoded = []
    frames = ffmpeg._Decoder._decode
    monkeypatch.setattr(
        ffmpeg._Decoder, "_decode", lambda self, one: decoded.append(one) or frames(self, one)
    )
    decode.read(path, 8.5, 0.1)
    assert len(decoded) < 150


def test_samples_of_all_formats_are_scaled_to_float(made):
    expected = tone(22_050, 1, 9.0).T
    for name, options in (("a.wv", "-sample_fmt u8p"), ("b.wv", ""), ("c.m4a", "-c:a alac"), ("d.tta", "")):
        wave = decode.read(str(made(name, options))).wave
        assert np.abs(wave - expected).max() < 0.02, name


def test_tags_and_padding_are_accepted_and_bytes_between_frames_are_damage(made):
    content = made("t.mp3", "-b:a 64k -write_xing 0 -id3v2_version 0").read_bytes()
    seconds = decode.measure(io.BytesIO(content)).seconds
    assert decode.measure(io.BytesIO(id3v2() + content + ape() + bytes(900))).seconds == seconds
    assert decode.measure(io.BytesIO(content + id3v2() + content)).seconds > 1.9 * seconds
    middle = len(content) // 2
    with pytest.raises(AudioError, match=r"damaged at \d\.\d+ s"):
        decode.measure(io.BytesIO(content[:middle] + bytes(range(200)) * 5 + content[middle + 900 :]))
    with pytest.raises(AudioError, match="is truncated at"):
        decode.measure(io.BytesIO(content[:middle] + bytes(middle)))


def test_truncation_at_a_frame_boundary_is_found_by_the_frame_count_in_the_header(made):
    content = made("x.mp3", "-b:a 64k").read_bytes()
    frames = [at for at in range(len(content)) if content[at : at + 2] == b"\xff\xf3"]
    with pytest.raises(AudioError, match=r"is shorter than its header states: \d+ of \d+ frames") as caught:
        decode.measure(io.BytesIO(content[: frames[len(frames) // 2]]))
    assert caught.value.reason == "short"


def test_playlists_and_urls_are_not_opened(tmp_path, made):
    path = made("s.mp3", "-b:a 64k")
    for name, content in (
        ("list.m3u8", f"#EXTM3U\n#EXTINF:3,\n{path}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", f"ffconcat version 1.0\nfile {path}\n"),
        ("list.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(AudioError, match="cannot be decoded"):
            decode.measure(str(tmp_path / name))
    with pytest.raises(AudioError, match="is missing"):
        decode.measure(f"concat:{path}|{path}")


def test_a_rate_that_changes_within_a_file_is_refused(made):
    bare = "-b:a 64k -write_xing 0 -id3v2_version 0 -ar"
    parts = [made(f"{rate}.mp3", f"{bare} {rate}").read_bytes() for rate in (16_000, 24_000)]
    with pytest.raises(AudioError, match=r"changes from \(16000, 1\) to \(24000, 1\)"):
        decode.measure(io.BytesIO(b"".join(parts)))
