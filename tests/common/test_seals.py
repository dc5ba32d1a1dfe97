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
    """Sealed folder with two files."""
    path = tmp_path / "cached"
    path.mkdir()
    (path / "values").write_bytes(b"values" * 100)
    (path / "names").write_text("a b c")
    seal_folder(path)
    return path


def test_any_change_to_a_file_of_a_sealed_folder_is_detected(folder):
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


def test_a_folder_without_a_checked_manifest_is_invalid(tmp_path):
    assert folder_fault(tmp_path) == f"it has no {FILE}"
    (tmp_path / FILE).write_text('{"files": {}}')
    with pytest.raises(SealError, match="is damaged"):
        read_facts(tmp_path)


def test_checksums_do_not_depend_on_blocks(folder, monkeypatch):
    before = crc32_of(folder / "values")
    monkeypatch.setattr(seals, "BYTES_AT_ONCE", 7)
    assert crc32_of(folder / "values") == before


def load_cached(tmp_path, made):
    def make(partial):
        made.append(1)
        (partial / "number").write_text("7")

    return cached_folder(tmp_path / "cached", make, lambda folder: (folder / "number").read_text())


def test_a_cached_folder_is_made_once_and_again_after_damage(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "audio_lm.common.seals")
    made = []
    assert [load_cached(tmp_path, made) for _ in range(2)] == ["7", "7"]
    assert made == [1]
    (tmp_path / "cached" / "number").write_text("8")
    assert load_cached(tmp_path, made) == "7"
    assert made == [1, 1]
    (line,) = [record.message for record in caplog.records]
    assert str(tmp_path / "cached") in line
    assert "number has another checksum" in line
    assert [path.name for path in tmp_path.iterdir()] == ["cached"]


def test_two_processes_that_repair_a_folder_at_once_both_succeed(tmp_path):
    load_cached(tmp_path, [])
    (tmp_path / "cached" / "number").write_text("")

    def make_slowly(partial):
        load_cached(tmp_path, [])  # another process at the same time
        (partial / "number").write_text("7")

    assert (
        cached_folder(tmp_path / "cached", make_slowly, lambda folder: (folder / "number").read_text()) == "7"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["cached"]


def test_an_intact_folder_of_another_process_is_not_replaced(tmp_path):
    inodes = []

    def make_slowly(partial):
        load_cached(tmp_path, [])  # another process, which may read its folder from now on
        inodes.append((tmp_path / "cached").stat().st_ino)
        (partial / "number").write_text("7")

    assert (
        cached_folder(tmp_path / "cached", make_slowly, lambda folder: (folder / "number").read_text()) == "7"
    )
    assert inodes == [(tmp_path / "cached").stat().st_ino]
    assert [path.name for path in tmp_path.iterdir()] == ["cached"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_intact_folder_is_read_from_a_read_only_disk(tmp_path):
    load_cached(tmp_path, [])
    tmp_path.chmod(0o555)
    try:
        assert load_cached(tmp_path, []) == "7"
    finally:
        tmp_path.chmod(0o755)
