import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.labels import labels_of
from audio_lm.pipeline.clip_cuts import cut_of_files

FIXTURES = Path(os.environ.get("AUDIO_LM_DATA", "/nowhere")) / "fixtures"


def write(path, seconds, *, rate=16_000, channels=1):
    rng = np.random.default_rng(0)
    soundfile.write(path, rng.uniform(-0.5, 0.5, (round(seconds * rate), channels)).astype(np.float32), rate)
    return path


def test_a_file_is_one_clip_with_its_labels(tmp_path):
    path = write(tmp_path / "a.wav", 1.0)
    cut = cut_of_files([path], {"language": "en", "question": "Who?"})
    (wave,) = load_waves(cut)
    assert np.array_equal(wave, soundfile.read(path, dtype="float32")[0])
    assert labels_of(cut) == {"language": "en", "question": "Who?"}


def test_channels_are_averaged_or_chosen_and_other_rates_resampled(tmp_path):
    path = write(tmp_path / "a.wav", 1.0, rate=8_000, channels=2)
    left, right = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    for channel, expected in (("average", (left + right) / 2), ("left", left), ("right", right)):
        (wave,) = load_waves(cut_of_files([path], {}, channel=channel))
        assert len(wave) == 16_000
        assert np.abs(wave[::2] - expected).mean() < 0.1 * np.abs(expected).mean(), channel
    with pytest.raises(DataError, match="gives 2 clips"):
        cut_of_files([path], {}, channel="both")


def test_several_files_are_the_clips_of_one_cut_in_order(tmp_path):
    paths = [write(tmp_path / f"{number}.wav", number / 2, rate=8_000 * number) for number in (1, 2, 3)]
    assert [len(wave) for wave in load_waves(cut_of_files(paths, {}))] == [8_000, 16_000, 24_000]
    with pytest.raises(DataError, match="10 clips in one question"):
        cut_of_files([paths[0]] * 10, {})


def test_a_long_clip_is_refused_or_truncated(tmp_path):
    path, short = write(tmp_path / "long.wav", 31.0, rate=8_000), write(tmp_path / "short.wav", 1.0)
    with pytest.raises(DataError, match=r"long\.wav: 31\.0 s is longer .*--long-audio truncate"):
        cut_of_files([path], {})
    (wave,) = load_waves(cut_of_files([path], {}, long_audio="truncate"))
    assert len(wave) == 30 * 16_000
    with pytest.raises(DataError, match=r"long\.wav: 31\.0 s is longer"):
        cut_of_files([short, path], {}, long_audio="truncate")


def test_unusable_files_are_named(tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    for name, words in (("gone.wav", "is missing"), ("text.wav", "text.wav"), (".", "cannot be read")):
        with pytest.raises(DataError, match=words):
            cut_of_files([tmp_path / name], {})
    with pytest.raises(DataError, match="needs 3"):
        cut_of_files([write(tmp_path / "short.wav", 0.01)], {})


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="needs AUDIO_LM_DATA")
@pytest.mark.parametrize(
    "name", ["common_voice_en_651325.mp3", "stereo.opus", "jfk.flac", "real_8ch.wav", "LJ002-0020.wav"]
)
def test_real_recordings_of_any_format_are_read(name):
    (wave,) = load_waves(cut_of_files([FIXTURES / name], {}))
    assert len(wave) >= 1_600
    assert np.abs(wave).max() > 0.01
