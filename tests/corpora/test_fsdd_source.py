import tarfile

import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.fsdd_source import load_recordings


def archive_of(folder, path):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "free-spoken-digit-dataset-master/recordings")
    return path


def test_folder_and_archive_hold_the_same_recordings(spoken_digits, tmp_path, monkeypatch):
    monkeypatch.delenv("AUDIO_LM_DATA", raising=False)
    archive = archive_of(spoken_digits, tmp_path / "all.tar.gz")
    from_folder = load_recordings(str(spoken_digits), "", tmp_path, print)
    from_archive = load_recordings("", archive.as_uri(), tmp_path / "downloads", print)
    assert [take[:3] for take in from_folder] == [take[:3] for take in from_archive]
    assert all((a.wave == b.wave).all() for a, b in zip(from_folder, from_archive, strict=True))
    assert from_folder[0][:3] == (0, "george", 0)


def test_recordings_in_the_shared_folder_are_read_without_download(spoken_digits, tmp_path, monkeypatch):
    (tmp_path / "fsdd").symlink_to(spoken_digits)
    monkeypatch.setenv("AUDIO_LM_DATA", str(tmp_path))
    assert len(load_recordings("", "file:///nowhere", tmp_path / "downloads", print)) == 81
    assert not (tmp_path / "downloads").exists()


def test_the_error_for_a_missing_source_suggests_a_remedy(tmp_path, monkeypatch):
    monkeypatch.delenv("AUDIO_LM_DATA", raising=False)
    with pytest.raises(DataError, match="set AUDIO_LM_DATA"):
        load_recordings("", (tmp_path / "none.tar.gz").as_uri(), tmp_path / "downloads", print)
    with pytest.raises(DataError, match="is not a folder"):
        load_recordings(str(tmp_path / "none"), "", tmp_path, print)
    with pytest.raises(DataError, match="contains no recordings"):
        load_recordings(str(tmp_path), "", tmp_path, print)


def test_the_error_for_a_damaged_recording_names_it(tmp_path):
    (tmp_path / "0_theo_0.flac").write_bytes(b"no audio")
    with pytest.raises(DataError, match=r"0_theo_0\.flac"):
        load_recordings(str(tmp_path), "", tmp_path, print)


def test_the_error_for_a_truncated_archive_names_it(spoken_digits, tmp_path, monkeypatch):
    monkeypatch.delenv("AUDIO_LM_DATA", raising=False)
    path = archive_of(spoken_digits, tmp_path / "fsdd.tar.gz")
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"fsdd\.tar\.gz is not a complete archive"):
        load_recordings("", "", tmp_path, print)
