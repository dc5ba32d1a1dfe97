import json
import logging
import multiprocessing
import os
import signal
import stat

import pytest

from audio_lm.common import files
from audio_lm.common.files import (
    atomic_write,
    partial_folder,
    put_folder,
    read_json,
    read_lines,
    read_table,
    seal,
    seal_text,
    text_fault,
    unseal,
    write_json,
    write_text,
)

TABLE = {"step": 12, "loss": 0.1 + 0.2, "nested": {"10": [1, None, "Zürich"], "2": True}, "finished": False}


@pytest.fixture
def logged(caplog):
    """Messages logged so far."""
    caplog.set_level(logging.WARNING, "audio_lm.common.files")
    return lambda: [record.message for record in caplog.records]


def test_a_table_reads_back_as_it_was_written(tmp_path):
    write_json(tmp_path / "a.json", TABLE | {2: "two", 10: "ten"})
    assert read_table(tmp_path / "a.json") == TABLE | {"2": "two", "10": "ten"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_flipped_bit_of_a_table_is_detected_or_harmless(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, TABLE)
    raw = path.read_bytes()
    for number in range(8 * len(raw)):
        place, bit = divmod(number, 8)
        path.write_bytes(raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :])
        table = read_json(path)
        known = {key: table.values[key] for key in TABLE if key in table.values}
        assert table.fault or known == TABLE, (place, bit)


@pytest.mark.parametrize(
    "content", [b"", b'{"step": 1', b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"a": 1, "crc32": 7}']
)
def test_an_unreadable_table_counts_as_absent_and_is_logged_once(tmp_path, logged, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert [read_table(path) for _ in range(3)] == [{}] * 3
    assert [str(path) in line and "treated as absent" in line for line in logged()] == [True]
    assert read_json(tmp_path / "b.json").is_absent


def test_a_table_without_a_checksum_is_read(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(TABLE))
    assert read_table(tmp_path / "a.json") == TABLE
    assert unseal(seal(TABLE)) == TABLE


def test_an_error_while_writing_keeps_the_old_file(tmp_path):
    write_text(tmp_path / "a", "old")

    def write():
        with atomic_write(tmp_path / "a") as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_content_is_synced_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda descriptor: (calls.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)), sync(descriptor)),
    )
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("renamed"), replace(*a)))
    write_text(tmp_path / "a", "text")
    assert calls == [False, "renamed", True]


def test_files_and_folders_get_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "a", "text")
        with partial_folder(tmp_path / "b") as partial:
            (partial / "c").write_text("text")
            put_folder(partial, tmp_path / "b")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "b")] == [0o644, 0o755]


def test_a_truncated_or_changed_text_is_detected(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(seal_text("seed: 1\nname: x\n"))
    assert text_fault(path) == ""
    path.write_text(path.read_text().replace("seed: 1", "seed: 3"))
    assert "checksum" in text_fault(path)
    path.write_text("seed: 1\n")
    assert text_fault(path) == ""  # written by an earlier release
    for content in (b"", b"\n", b"\xff"):
        path.write_bytes(content)
        assert text_fault(path)


def test_only_damaged_lines_are_lost_and_they_are_logged_once(tmp_path, logged):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps(seal({"number": number})) + "\n" for number in range(5)]
    lines[1], lines[3] = lines[1].replace('"number": 1', '"number": 7'), "\0" * 10 + "\n"
    path.write_text("".join(lines) + '{"torn')
    lines_read = list(read_lines(path))
    assert [line.record and line.record["number"] for line in lines_read] == [0, None, 2, None, 4]
    assert lines_read[-1].end == len("".join(lines))
    assert list(read_lines(path, lines_read[2].end)) == lines_read[3:]
    assert len(logged()) == 1


def _fill_and_die(folder):
    with partial_folder(folder) as partial:
        (partial / "half").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def _die_between_the_renames(folder):
    with partial_folder(folder) as partial:
        rename = type(folder).rename

        def rename_once(path, target):
            if path == partial:
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(path, target)

        type(folder).rename = rename_once
        put_folder(partial, folder)


def exit_code_of_fork(function, *arguments):
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def test_leftovers_of_dead_processes_are_removed_and_those_of_live_ones_are_kept(tmp_path):
    assert exit_code_of_fork(_fill_and_die, tmp_path / "a") == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2, "the folder and its lock"
    with partial_folder(tmp_path / "b") as other:
        assert len(list(tmp_path.iterdir())) == 2
        with partial_folder(tmp_path / "c"):
            assert other.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_restored_if_its_replacement_was_killed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_text("old")
    assert exit_code_of_fork(_die_between_the_renames, tmp_path / "a") == -signal.SIGKILL
    assert not (tmp_path / "a").exists()
    files.remove_partial_folders(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "old").read_text() == "old"
