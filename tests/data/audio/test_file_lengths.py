import os
import signal
import tarfile
from pathlib import Path

import pytest
import soundfile

from audio_lm.common.errors import UserError, missing_extra
from audio_lm.data.audio import file_lengths, length_cache
from audio_lm.data.audio.decode import AudioMeasurement
from audio_lm.data.audio.file_lengths import measure_files
from audio_lm.data.audio.recordings import recording_of, with_decoder
from audio_lm.data.manifest.shar import ByteRange
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
    found = measure_files(paths)
    assert list(found) == paths
    assert found[paths[3]].startswith("cannot be decoded")
    good = {path: one for path, one in found.items() if isinstance(one, AudioMeasurement)}
    assert len(good) == 11
    assert found == {path: file_lengths._measure(str(path)) for path in paths}
    recording = recording_of(paths[2], found[paths[2]])
    assert (recording.channel_ids, recording.num_samples) == ([0, 1, 2], 8_000)


def test_a_missing_package_is_reported_from_a_worker_process(paths, monkeypatch):
    def missing(path):
        raise missing_extra("av", extra="codecs", purpose=path)

    monkeypatch.setattr(file_lengths, "_measure", missing)
    with pytest.raises(UserError, match="'audio-lm\\[codecs\\]'"):
        measure_files(paths)


@pytest.fixture
def measured(monkeypatch):
    """Names of the files that are measured, instead of taken from the cache; every one is written to it at once."""
    names = []
    real = file_lengths._measure
    monkeypatch.setattr(file_lengths, "_measure", lambda name: names.append(name) or real(name))
    monkeypatch.setattr(length_cache, "FLUSH_EVERY", -1.0)
    return names


def test_a_file_is_measured_again_only_if_it_was_changed(paths, tmp_path, measured):
    cache = tmp_path / "cache" / "lengths.jsonl"
    before = measure_files(paths, cache=cache)
    assert measured == [str(path) for path in paths]
    assert before == {path: file_lengths._measure(str(path)) for path in paths}
    measured.clear()
    soundfile.write(paths[0], tone(16_000, 1, 0.9), 16_000)
    stat = paths[4].stat()
    os.utime(paths[4], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = measure_files(paths, cache=cache)
    assert measured == [str(paths[number]) for number in (0, 3, 4)]  # the fourth is unusable
    assert after == before | {paths[0]: after[paths[0]]}
    assert after[paths[0]].seconds == pytest.approx(0.9)


def test_a_killed_import_keeps_what_it_measured(paths, tmp_path, measured, monkeypatch):
    cache = tmp_path / "lengths.jsonl"
    real = file_lengths._measure
    monkeypatch.setattr(file_lengths, "_measure", lambda name: 1 / 0 if name == str(paths[8]) else real(name))
    with pytest.raises(ZeroDivisionError):
        measure_files(paths, cache=cache)
    cache.write_bytes(cache.read_bytes() + b'["/a/partial.wav", 12')
    monkeypatch.setattr(file_lengths, "_measure", real)
    measured.clear()
    measure_files(paths, cache=cache)
    assert measured == [str(paths[number]) for number in (3, 8, 9, 10, 11)]
    measured.clear()
    measure_files(paths, cache=cache)
    assert measured == [str(paths[3])]


def test_short_work_leaves_no_cache(paths, tmp_path):
    measure_files(paths, cache=tmp_path / "lengths.jsonl")
    assert not (tmp_path / "lengths.jsonl").exists()


def test_byte_ranges_of_a_tar_are_measured_like_files(paths, tmp_path, measured):
    names = {}
    with tarfile.open(tmp_path / "clips.tar", "w") as tar:
        for path in paths:
            tar.add(path, path.name)
    with tarfile.open(tmp_path / "clips.tar") as tar:
        for member in tar:
            byte_range = ByteRange(tmp_path / "clips.tar", member.offset_data, member.size)
            names[Path(str(byte_range))] = tmp_path / member.name
    found = measure_files(list(names), cache=tmp_path / "lengths.jsonl")
    alone = {name: file_lengths._measure(str(path)) for name, path in names.items()}
    assert {name: one for name, one in found.items() if name not in (bad := [*names][3:4])} == {
        name: one for name, one in alone.items() if name not in bad
    }
    assert found[bad[0]].startswith("cannot be decoded")
    usable = next(iter(names))
    recording = recording_of(usable, found[usable])
    assert (recording.sources[0].type, recording.sources[0].source) == ("shar", str(usable))
    assert with_decoder(recording).load_audio().shape == (1, 4_800)
    measured.clear()
    assert measure_files(list(names), cache=tmp_path / "lengths.jsonl") == found
    assert measured == [str(list(names)[3])]


def test_a_killed_process_is_one_sentence(paths, monkeypatch):
    monkeypatch.setattr(file_lengths, "FEW_FILES", 1)
    monkeypatch.setattr(file_lengths, "_measure", _kill_this_process)
    with pytest.raises(UserError, match="was killed after 0 of 12 files"):
        measure_files(paths)


def _kill_this_process(name):
    os.kill(os.getpid(), signal.SIGKILL)
