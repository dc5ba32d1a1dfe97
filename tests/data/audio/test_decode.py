import builtins
import io
import os
import threading

import numpy as np
import pytest
import soundfile

from audio_lm.common.errors import UserError
from audio_lm.data.audio import decode
from audio_lm.data.audio.errors import AudioError
from tests.data.audio_files import ffmpeg, sound_file, tone, wav_of_size

WAVE = tone(16_000, 1)


def test_the_name_of_a_file_does_not_matter(tmp_path):
    for name, container, subtype in (
        ("a.mp3", "WAV", "PCM_16"),
        ("b.wav", "OGG", "VORBIS"),
        ("c", "FLAC", "PCM_16"),
    ):
        path = tmp_path / name
        soundfile.write(path, WAVE, 16_000, format=container, subtype=subtype)
        found = decode.measure(str(path))
        assert 0 <= found.num_samples - len(WAVE) < 1_024  # FFmpeg keeps a single page of Vorbis whole
        assert decode.read(str(path)).wave.shape == (1, found.num_samples)


def test_lengths_are_read_from_exact_headers_and_counted_in_compressed_files():
    assert not decode.measure(io.BytesIO(sound_file(WAVE, 16_000))).is_counted
    assert decode.measure(io.BytesIO(sound_file(WAVE, 16_000, "OGG", "VORBIS"))).is_counted


def test_a_file_much_shorter_than_its_header_states_is_refused():
    content = sound_file(WAVE, 16_000)
    with pytest.raises(AudioError, match=r"is shorter than its header states: 0\.6\d s of 1\.34 s") as caught:
        decode.measure(io.BytesIO(content[: len(content) // 2]))
    assert caught.value.reason == "short"
    assert decode.measure(io.BytesIO(content[:-20])).num_samples == len(WAVE) - 10


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_the_open_size_in_the_header_of_a_stream_is_ignored(size):
    found = decode.measure(io.BytesIO(wav_of_size(WAVE, 16_000, size)))
    assert found.num_samples == len(WAVE)


def test_a_file_without_samples_is_refused(tmp_path):
    with pytest.raises(AudioError, match="or its header counts none"):
        decode.measure(io.BytesIO(sound_file(WAVE[:0], 16_000)))


def test_anything_but_a_regular_file_is_refused_without_blocking(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    for path in (tmp_path / "pipe.wav", tmp_path / "folder.wav", "/dev/zero"):
        with pytest.raises(AudioError, match=r"regular file|directory"):
            decode.measure(str(path))
        with pytest.raises(AudioError, match=r"regular file|directory"):
            decode.read(str(path))
    with pytest.raises(AudioError, match=r"gone\.wav is missing") as caught:
        decode.read(str(tmp_path / "gone.wav"))
    assert caught.value.reason == "missing"


@pytest.fixture
def without_av(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest):
        if name == "av":
            raise ImportError("No module named 'av'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(decode, "find_spec", lambda name: None)


def test_a_missing_decoder_package_is_named_with_its_extra(tmp_path, without_av):
    path = tmp_path / "a.mp3"
    path.write_bytes(sound_file(WAVE, 16_000, "OGG", "VORBIS"))
    with pytest.raises(UserError, match=r"a\.mp3.*needs the package 'av'.*audio-lm\[codecs\]") as caught:
        decode.measure(str(path))
    assert not isinstance(caught.value, AudioError)
    with pytest.raises(AudioError, match="'av' is not installed"):
        decode.read(str(path))
    path.write_bytes(b"RIFF\0\0\0\0WAVE broken")
    with pytest.raises(AudioError, match="cannot be decoded"):
        decode.measure(str(path))
    path.write_bytes(sound_file(WAVE, 16_000))
    assert decode.measure(str(path)).num_samples == len(WAVE)


def test_powers_of_channels_are_those_of_the_samples(tmp_path):
    stereo = tone(16_000, 2) * [1.0, 0.1]
    soundfile.write(tmp_path / "a.wav", stereo, 16_000, subtype="FLOAT")
    ffmpeg("-i", str(tmp_path / "a.wav"), str(tmp_path / "a.wv"))
    for name in ("a.wav", "a.wv"):
        found = decode.measure(str(tmp_path / name), with_powers=True)
        np.testing.assert_allclose(found.powers, np.square(stereo).mean(axis=0), rtol=1e-3)
        assert found.mean_power == pytest.approx(np.square(stereo.mean(axis=1)).mean(), rel=1e-3)
        assert decode.measure(str(tmp_path / name)).powers == ()


def test_decoding_is_thread_safe(tmp_path):
    path = tmp_path / "a.ogg"
    path.write_bytes(sound_file(WAVE, 16_000, "OGG", "VORBIS"))
    found = []
    threads = [threading.Thread(target=lambda: found.append(decode.measure(str(path)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
