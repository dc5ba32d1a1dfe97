import numpy as np
import pytest
import soundfile
from lhotse import AudioSource, MonoCut, Recording

from audio_lm.data.audio.errors import AudioError
from audio_lm.data.audio.recordings import before_transforms, samples_of, with_decoder
from tests.data.audio_files import tone


def test_rate_and_length_of_a_file_are_computed_before_transforms():
    resample = {
        "name": "Resample",
        "kwargs": {"source_sampling_rate": 44_100, "target_sampling_rate": 16_000},
    }
    speed = {"name": "Speed", "kwargs": {"factor": 1.1}}
    assert before_transforms(16_000, 2.0, None) == (16_000, 2.0)
    assert before_transforms(16_000, 2.0, [resample]) == (44_100, 2.0)
    assert before_transforms(16_000, 2.0, [speed, resample]) == (44_100, pytest.approx(2.2))


@pytest.fixture
def recording(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(8_000, 2, 1.0), 8_000, subtype="FLOAT")
    return Recording("r", [AudioSource("file", [0, 1], str(tmp_path / "a.wav"))], 8_000, 8_000, 1.0)


def test_samples_equal_those_read_by_lhotse(recording):
    cut = MonoCut("c", 0.25, 0.5, 1, recording=recording)
    for same in (cut, cut.resample(16_000), cut.perturb_speed(1.1)):
        np.testing.assert_array_equal(samples_of(same, ())[0], same.load_audio())


def test_the_decoders_of_lhotse_are_not_used(recording, monkeypatch):
    monkeypatch.setattr("lhotse.audio.source.read_audio", None)
    assert with_decoder(recording).load_audio().shape == (2, 8_000)


@pytest.mark.parametrize(
    ("changed", "reason", "words"),
    [
        (
            {"sampling_rate": 16_000, "num_samples": 16_000},
            "rate",
            "has 8000 Hz where its manifest states 16000 Hz",
        ),
        ({"duration": 1.1, "num_samples": 8_800}, "short", "ends at 1.00 s of 1.10 s"),
        ({"duration": 0.9, "num_samples": 7_200}, "short", "is longer than the 0.90 s"),
    ],
)
def test_wrong_rate_or_length_in_a_manifest_is_refused(recording, changed, reason, words):
    wrong = with_decoder(Recording(**{**vars(recording), "channel_ids": None, **changed}))
    with pytest.raises(AudioError, match=words) as caught:
        wrong.sources[0].load_audio()
    assert caught.value.reason == reason
