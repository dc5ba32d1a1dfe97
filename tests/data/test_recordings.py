import pytest
import soundfile

from audio_lm.data import recordings
from audio_lm.data.audio import Measured
from audio_lm.data.recordings import before_transforms, measure_files, recording_of
from audio_lm.errors import UserError, missing_extra
from tests.data.audio_files import tone


@pytest.fixture
def paths(tmp_path):
    """Twelve files, of which the fourth is none."""
    found = []
    for number in range(12):
        found.append(tmp_path / f"{number}.{'ogg' if number % 2 else 'wav'}")
        kind = {"format": "OGG", "subtype": "VORBIS"} if number % 2 else {}
        soundfile.write(found[-1], tone(16_000, 1 + number % 3, 0.3 + number / 10), 16_000, **kind)
    found[3].write_bytes(b"404 not found")
    return found


@pytest.mark.parametrize("few", [1, 1_000])
def test_files_are_measured_in_one_process_as_in_many(paths, monkeypatch, few):
    monkeypatch.setattr(recordings, "FEW_FILES", few)
    monkeypatch.setattr(recordings, "REPORT_EVERY", 0.0)
    said = []
    found = measure_files(paths, said.append)
    assert list(found) == paths
    assert found[paths[3]].startswith("cannot be decoded")
    good = {path: one for path, one in found.items() if isinstance(one, Measured)}
    assert len(good) == 11
    assert found == {path: recordings._measured(str(path)) for path in paths}
    assert said[-1].startswith("12 of 12 audio files measured")
    recording = recording_of(paths[2], found[paths[2]])
    assert (recording.channel_ids, recording.num_samples) == ([0, 1, 2], 8_000)


def test_a_package_that_is_missing_is_told_from_a_process_too(paths, monkeypatch):
    def missing(path):
        raise missing_extra("av", extra="codecs", purpose=path)

    monkeypatch.setattr(recordings, "_measured", missing)
    with pytest.raises(UserError, match="'audio-lm\\[codecs\\]'"):
        measure_files(paths, print)


def test_rate_and_length_of_a_file_are_those_before_its_transforms():
    resample = {
        "name": "Resample",
        "kwargs": {"source_sampling_rate": 44_100, "target_sampling_rate": 16_000},
    }
    speed = {"name": "Speed", "kwargs": {"factor": 1.1}}
    assert before_transforms(16_000, 2.0, None) == (16_000, 2.0)
    assert before_transforms(16_000, 2.0, [resample]) == (44_100, 2.0)
    assert before_transforms(16_000, 2.0, [speed, resample]) == (44_100, pytest.approx(2.2))
