"""Clips of requests."""

import base64
import io

import numpy as np
import pytest
import soundfile

from audio_lm.endpoint.clip import check_clip
from audio_lm.endpoint.config import Limits
from audio_lm.endpoint.request_error import RequestError
from tests.endpoint.served_model import clip


def encoded(wave=None, *, rate=16_000, kind="WAV", subtype=None):
    file = io.BytesIO()
    soundfile.write(file, clip(0) if wave is None else wave, rate, format=kind, subtype=subtype)
    return file.getvalue()


def text(content):
    return base64.b64encode(content).decode()


def refusal(data, limits=None):
    with pytest.raises(RequestError) as error:
        check_clip(data, limits or Limits(), where="here")
    assert (error.value.status, error.value.param) == (400, "here")
    return error.value


@pytest.mark.parametrize("kind", ["WAV", "MP3", "FLAC", "OGG"])
@pytest.mark.parametrize("head", ["", "data:audio/anything;base64,"])
def test_known_formats_pass_by_their_content(kind, head):
    content = encoded(kind=kind)
    part = check_clip(head + text(content), Limits(), where="here")
    assert part["input_audio"] == {"data": text(content), "format": kind.lower()}


def test_line_breaks_in_base64_are_left_out():
    data = base64.encodebytes(encoded()).decode()
    assert check_clip(data, Limits(), where="here")["input_audio"]["data"] == text(encoded())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, "invalid_audio"),
        (7, "invalid_audio"),
        ("", "invalid_audio"),
        ("!!!not base64!!!", "invalid_base64"),
        ("abc", "invalid_base64"),
        ("/etc/passwd", "invalid_base64"),
        ("http://192.0.2.1/a.wav", "invalid_base64"),
        ("data:audio/wav,abc", "invalid_audio"),
        ("data:audio/wav;base64", "invalid_audio"),
        (text(b"hello, I am a text file"), "invalid_audio"),
        (text(b""), "invalid_audio"),
        (text(b"RIFF\0\0\0\0WAVEfmt "), "invalid_audio"),
        (text(encoded(kind="AIFF")), "invalid_audio"),
    ],
)
def test_what_is_no_clip_is_refused(data, code):
    assert refusal(data).code == code


def test_a_path_that_is_valid_base64_is_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "abcd").write_bytes(encoded())
    assert refusal("abcd").code == "invalid_audio"


@pytest.mark.parametrize("kind", ["WAV", "MP3"])
def test_a_long_clip_is_refused_before_it_is_decoded_to_its_end(kind):
    quiet = np.zeros(16_000 * 120, np.float32)
    assert "longer than 30 s" in str(refusal(text(encoded(quiet, kind=kind))))
    assert "longer than 0.5 s" in str(refusal(text(encoded()), Limits(max_seconds=0.5)))


def test_thirty_seconds_pass():
    check_clip(text(encoded(np.zeros(16_000 * 30, np.float32))), Limits(), where="here")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (encoded(clip(0)[:300]), r"0\.019 s"),
        (encoded(clip(0)[:0]), "0.000 s"),
        (encoded(np.full(16_000, np.nan, np.float32), subtype="FLOAT"), "no numbers"),
        (encoded(rate=1_000), "1000 Hz"),
        (encoded(np.zeros((16_000, 6), np.float32)), "6 channels"),
    ],
)
def test_audio_that_no_model_can_use_is_refused(content, words):
    with pytest.raises(RequestError, match=words):
        check_clip(text(content), Limits(), where="here")
