import logging
import os

import pytest

from audio_lm.common import seals
from audio_lm.common.seals import (
    FILE,
    SealError,
    cached_folder,
    crc32_of,
    folder_fault,
    read_facts,
    seal_folder,
)


@pytest.fixture
def folder(tmp_path):
    """A sealed folder of two files."""
    place = tmp_path / "kept"
    place.mkdir()
    (place / "values").write_bytes(b"values" * 100)
    (place / "names").write_text("a b c")
    seal_folder(place)
    return place


def test_a_sealed_folder_holds_until_any_file_of_it_is_another(folder):
    assert folder_fault(folder) is None
    for path in sorted(folder.iterdir()):
        raw = path.read_bytes()
        flipped = bytearray(raw)
        flipped[len(raw) // 2] ^= 4
        for damage in (b"", raw[: len(raw) // 2], bytes(flipped)):
            path.write_bytes(damage)
            assert path.name in folder_fault(folder), "the file is named"
        path.unlink()
        assert path.name in folder_fault(folder)
        path.write_bytes(raw)
    assert folder_fault(folder) is None


def test_a_folder_without_a_seal_does_not_hold(tmp_path):
    assert folder_fault(tmp_path) == f"it has no {FILE}"
    (tmp_path / FILE).write_text('{"files": {}}')
    with pytest.raises(SealError, match="is not what was written"):
        read_facts(tmp_path)


def test_checksums_do_not_depend_on_blocks(folder, monkeypatch):
    before = crc32_of(folder / "values")
    monkeypatch.setattr(seals, "BYTES_AT_ONCE", 7)
    assert crc32_of(folder / "values") == before


def kept(tmp_path, made):
    def make(partial):
        made.append(1)
        (partial / "number").write_text("7")

    return cached_folder(tmp_path / "kept", make, lambda place: (place / "number").read_text())


def test_what_is_kept_is_made_once_and_again_when_it_does_not_hold(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "audio_lm.common.seals")
    made = []
    assert [kept(tmp_path, made) for _ in range(2)] == ["7", "7"]
    assert made == [1]
    (tmp_path / "kept" / "number").write_text("8")
    assert kept(tmp_path, made) == "7"
    assert made == [1, 1]
    (line,) = [record.message for record in caplog.records]
    assert str(tmp_path / "kept") in line
    assert "number has another checksum" in line
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_two_who_find_it_damaged_at_once_both_get_what_is_right(tmp_path):
    kept(tmp_path, [])
    (tmp_path / "kept" / "number").write_text("")

    def overtaken(partial):
        kept(tmp_path, [])  # another process, meanwhile
        (partial / "number").write_text("7")

    assert cached_folder(tmp_path / "kept", overtaken, lambda place: (place / "number").read_text()) == "7"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_another_process_put_there_meanwhile_is_not_moved_away_from_under_it(tmp_path):
    places = []

    def overtaken(partial):
        kept(tmp_path, [])  # another process, which may be reading its folder from now on
        places.append((tmp_path / "kept").stat().st_ino)
        (partial / "number").write_text("7")

    assert cached_folder(tmp_path / "kept", overtaken, lambda place: (place / "number").read_text()) == "7"
    assert places == [(tmp_path / "kept").stat().st_ino]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_holds_is_read_where_nothing_can_be_written(tmp_path):
    kept(tmp_path, [])
    tmp_path.chmod(0o555)
    try:
        assert kept(tmp_path, []) == "7"
    finally:
        tmp_path.chmod(0o755)
