import numpy as np
import pytest
import soundfile
from matplotlib.image import imread

from audio_lm.common.errors import DataError
from audio_lm.web.clips import log_mel, show_clips
from audio_lm.web.limits import Limits


def test_an_upload_becomes_a_16_khz_file_and_a_picture_of_its_frames(make_file, folder):
    (clip,) = show_clips(make_file(seconds=0.5), folder, Limits())
    wave, rate = soundfile.read(folder / f"{clip.token}.wav")
    assert (rate, wave.shape, clip.seconds, clip.name) == (16_000, (8_000,), 0.5, "one.wav")
    picture = imread(folder / f"{clip.token}.png")
    assert picture.shape[:2] == (80, 50)
    # A tone of 440 Hz is a bright line in the lower third, which is at the bottom of a picture.
    assert picture[..., :3].sum(axis=(1, 2)).argmax() > 53
    assert clip.num_bytes == (folder / f"{clip.token}.wav").stat().st_size


def test_names_of_files_are_random(make_file, folder):
    path = make_file()
    tokens = {show_clips(path, folder, Limits())[0].token for _ in range(3)}
    assert {len(token) for token in tokens} == {32}
    assert len(tokens) == 3


def test_a_long_file_is_cut_by_the_rule(make_file, folder):
    path = make_file(seconds=61, rate=16_000, channels=1)
    chunks = show_clips(path, folder, Limits(long_audio="chunk"))
    assert [clip.name for clip in chunks] == ["one.wav (1 of 3)", "one.wav (2 of 3)", "one.wav (3 of 3)"]
    assert [clip.seconds for clip in chunks] == [30, 30, 1]
    (start,) = show_clips(path, folder, Limits(long_audio="truncate"))
    assert (start.seconds, start.name) == (30, "one.wav")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(upload_mib=0.01), r"one.wav: 0.0 MiB -- expected at most 0.01 MiB"),
        (Limits(seconds=0.2), r"one.wav: 0.5 s -- expected at most 0.2 s"),
    ],
)
def test_an_upload_over_a_limit_is_refused(make_file, folder, limits, words):
    with pytest.raises(DataError, match=words):
        show_clips(make_file(seconds=0.5), folder, limits)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("content", [b"", b"no audio at all", b"RIFF\x24\x00\x00\x00WAVEfmt "])
def test_what_is_no_audio_is_refused_by_its_name_without_its_place(tmp_path, folder, content):
    path = tmp_path / "text.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"text\.wav") as error:
        show_clips(path, folder, Limits())
    assert str(tmp_path) not in str(error.value)


def test_a_missing_or_too_short_upload_is_named(tmp_path, make_file, folder):
    with pytest.raises(DataError, match=r"gone\.wav: the upload is no longer there"):
        show_clips(tmp_path / "gone.wav", folder, Limits())
    with pytest.raises(DataError, match="too short"):
        show_clips(make_file(seconds=0.01), folder, Limits())


def test_the_picture_has_a_row_per_frame():
    assert log_mel(np.zeros(16_000, dtype=np.float32)).shape == (100, 80)
