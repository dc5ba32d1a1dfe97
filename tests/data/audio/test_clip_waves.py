from io import BytesIO

import numpy as np
import pytest
import soundfile

from audio_lm.common.errors import DataError
from audio_lm.data.audio.clip_waves import read_wave, split_long
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.pipeline.clip_cuts import cut_of_files


def tone(rate, *, channels=1, seconds=0.7, hertz=300):
    time = np.arange(int(rate * seconds)) / rate
    wave = 0.3 * np.sin(2 * np.pi * hertz * time)
    return np.stack([wave * (number + 1) / channels for number in range(channels)], 1)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg"])
def test_a_file_has_the_samples_of_a_cut_of_it(tmp_path, rate, name):
    path = tmp_path / name
    soundfile.write(path, tone(rate, channels=2), rate)
    for channel in ("average", "left", "right"):
        (expected,) = load_waves(cut_of_files([path], {}, channel=channel))
        ours = read_wave(path, channel=channel)
        assert ours.dtype == np.float32
        assert abs(len(ours) - len(expected)) <= 1
        shorter = min(len(ours), len(expected))
        np.testing.assert_allclose(ours[:shorter], expected[:shorter], atol=1e-5)
        np.testing.assert_array_equal(read_wave(path.read_bytes(), channel=channel), ours)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint8, np.float32, np.float64])
def test_samples_of_a_microphone_have_full_scale_1(kind):
    wave = tone(16_000, channels=2)
    if np.dtype(kind).kind != "f":
        info = np.iinfo(kind)
        half = (info.max - info.min) / 2
        samples = np.round(wave * half + (info.max + 1 + info.min) / 2).astype(kind)
    else:
        samples = wave.astype(kind)
    expected = wave.mean(1)
    np.testing.assert_allclose(read_wave(samples), expected, atol=0.01 if kind is np.uint8 else 1e-4)
    np.testing.assert_allclose(read_wave(samples[:, 0]), wave[:, 0], atol=0.01 if kind is np.uint8 else 1e-4)


def test_an_array_is_resampled():
    ours = read_wave(tone(48_000)[:, 0], rate=48_000)
    np.testing.assert_allclose(ours[800:-800], tone(16_000)[800:-800, 0], atol=1e-3)


def test_a_long_wave_follows_the_rule():
    wave = np.zeros(16_000 * 61 + 100, np.float32)
    assert [len(part) for part in split_long(wave, "truncate", name="x")] == [480_000]
    assert [len(part) for part in split_long(wave, "chunk", name="x")] == [480_000, 480_000, 16_100]
    for rule in ("error", "drop"):
        with pytest.raises(DataError, match=r"x: 61\.0 s is longer than the encoder's 30 s"):
            split_long(wave, rule, name="x")
    rest = np.zeros(480_000 + 100, np.float32)
    assert [len(part) for part in split_long(rest, "chunk", name="x")] == [480_000], "no clip without a token"


def wav_bytes():
    file = BytesIO()
    soundfile.write(file, tone(16_000), 16_000, format="WAV")
    return file.getvalue()


@pytest.mark.parametrize(
    ("audio", "options", "words"),
    [
        (b"this is text", {"name": "note.txt"}, "note.txt"),
        (b"", {}, "the audio"),
        (wav_bytes()[:2000], {}, "shorter than its header states"),
        ("missing.wav", {}, "missing.wav is missing"),
        (np.zeros((2, 2, 2)), {}, "has shape"),
        (np.zeros(0), {}, "has shape"),
        (np.array(["a"]), {}, "has shape"),
        (np.full(1000, np.nan), {}, "not finite"),
        (np.zeros(1000), {"rate": 3}, "sampling rate of 3 Hz"),
        (np.zeros(1000), {"channel": "both"}, "channel 'both'"),
    ],
)
def test_what_is_no_audio_is_one_sentence(audio, options, words):
    with pytest.raises(DataError, match=words) as caught:
        read_wave(audio, **options)
    assert "\n" not in str(caught.value)


def test_a_wave_too_short_for_a_token_is_refused():
    with pytest.raises(DataError, match=r"x: 0\.006 s is too short"):
        split_long(np.zeros(100, np.float32), "chunk", name="x")
