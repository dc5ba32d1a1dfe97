"""Parts of messages."""

import base64
import io

import numpy as np
import pytest
import soundfile

from audio_lm.common.chat_parts import (
    audio_file_part,
    audio_format,
    audio_part,
    message,
    text_part,
    wave_part,
)
from audio_lm.common.errors import DataError

TONE = (0.3 * np.sin(np.arange(8_000) / 5)).astype(np.float32)


def encoded(kind):
    file = io.BytesIO()
    soundfile.write(file, TONE, 16_000, format=kind)
    return file.getvalue()


def content_of(part):
    assert part["type"] == "input_audio"
    return base64.b64decode(part["input_audio"]["data"], validate=True)


@pytest.mark.parametrize("kind", ["WAV", "MP3"])
def test_wav_and_mp3_are_sent_as_they_are(kind):
    part = audio_part(encoded(kind))
    assert part["input_audio"]["format"] == kind.lower()
    assert content_of(part) == encoded(kind)


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "AIFF", "W64"])
def test_another_format_becomes_wav(kind, tmp_path):
    path = tmp_path / "clip"
    path.write_bytes(encoded(kind))
    part = audio_file_part(path)
    assert part["input_audio"]["format"] == "wav"
    samples, samples_per_second = soundfile.read(io.BytesIO(content_of(part)))
    assert (samples_per_second, samples.shape) == (16_000, TONE.shape)
    assert np.abs(samples - TONE).max() < 0.1


def test_samples_are_kept():
    samples, samples_per_second = soundfile.read(io.BytesIO(content_of(wave_part(TONE, 8_000))))
    assert samples_per_second == 8_000
    assert np.abs(samples - TONE).max() < 1e-4


def test_mp3_with_and_without_tags_is_recognised_and_aac_is_not():
    assert audio_format(encoded("MP3")) == "mp3"
    assert audio_format(b"ID3\x04") == "mp3"
    assert audio_format(b"\xff\xf1\x50\x80") is None  # AAC
    assert audio_format(b"RIFF\0\0\0\0AVI ") is None


def test_text_and_missing_files_are_no_audio(tmp_path):
    (tmp_path / "a.wav").write_text("hello")
    with pytest.raises(DataError, match=r"a\.wav is no audio file"):
        audio_file_part(tmp_path / "a.wav")
    with pytest.raises(DataError, match=r"b\.wav cannot be read"):
        audio_file_part(tmp_path / "b.wav")


def test_a_turn_has_parts_or_text():
    assert message("user", "hi") == {"role": "user", "content": "hi"}
    assert message("user", (text_part("hi"),)) == {
        "role": "user",
        "content": [{"type": "text", "text": "hi"}],
    }
