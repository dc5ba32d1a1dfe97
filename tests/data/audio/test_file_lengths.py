import pytest
import soundfile

from audio_lm.common.errors import UserError, missing_extra
from audio_lm.data.audio import file_lengths
from audio_lm.data.audio.decode import AudioMeasurement
from audio_lm.data.audio.file_lengths import measure_files
from audio_lm.data.audio.recordings import recording_of
from tests.data.audio_files import tone


@pytest.fixture
def paths(tmp_path):
    """Twelve files; the fourth is not audio."""
    found = []
    for number in range(12):
        found.append(tmp_path / f"{number}.{'ogg' if number % 2 else 'wav'}")
        kind = {"format": "OGG", "subtype": "VORBIS"} if number % 2 else {}
        soundfile.write(found[-1], tone(16_000, 1 + number % 3, 0.3 + number / 10), 16_000, **kind)
    found[3].write_bytes(b"404 not found")
    return found


@pytest.mark.parametrize("few", [1, 1_000])
def test_one_process_and_many_measure_the_same(paths, monkeypatch, few):
    monkeypatch.setattr(file_lengths, "FEW_FILES", few)
    monkeypatch.setattr(file_lengths, "REPORT_EVERY", 0.0)
    lines = []
    found = measure_files(paths, lines.append)
    assert list(found) == paths
    assert found[paths[3]].startswith("cannot be decoded")
    good = {path: one for path, one in found.items() if isinstance(one, AudioMeasurement)}
    assert len(good) == 11
    assert found == {path: file_lengths._measure(str(path)) for path in paths}
    assert lines[-1].startswith("12 of 12 audio files measured")
    recording = recording_of(paths[2], found[paths[2]])
    assert (recording.channel_ids, recording.num_samples) == ([0, 1, 2], 8_000)


def test_a_missing_package_is_reported_from_a_worker_process(paths, monkeypatch):
    def missing(path):
        raise missing_extra("av", extra="codecs", purpose=path)

    monkeypatch.setattr(file_lengths, "_measure", missing)
    with pytest.raises(UserError, match="'audio-lm\\[codecs\\]'"):
        measure_files(paths, print)
