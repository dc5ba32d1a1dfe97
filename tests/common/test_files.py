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
def told(caplog):
    """What was logged so far."""
    caplog.set_level(logging.WARNING, "audio_lm.common.files")
    return lambda: [record.message for record in caplog.records]


def test_a_table_reads_back_as_it_was_written(tmp_path):
    write_json(tmp_path / "a.json", TABLE | {2: "two", 10: "ten"})
    assert read_table(tmp_path / "a.json") == TABLE | {"2": "two", "10": "ten"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_any_flipped_bit_of_a_table_is_found_or_changes_nothing(tmp_path):
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
def test_what_is_no_table_counts_as_absent_and_is_named_once(tmp_path, told, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert [read_table(path) for _ in range(3)] == [{}] * 3
    assert [str(path) in line and "counts as absent" in line for line in told()] == [True]
    assert read_json(tmp_path / "b.json").is_absent


def test_a_table_from_before_tables_were_sealed_is_read(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(TABLE))
    assert read_table(tmp_path / "a.json") == TABLE
    assert unseal(seal(TABLE)) == TABLE


def test_an_error_while_writing_leaves_the_old_file_alone(tmp_path):
    write_text(tmp_path / "a", "old")

    def write():
        with atomic_write(tmp_path / "a") as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_content_is_synced_before_the_name_and_the_name_after(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda number: (done.append(stat.S_ISDIR(os.fstat(number).st_mode)), sync(number))
    )
    monkeypatch.setattr(os, "replace", lambda *a: (done.append("renamed"), replace(*a)))
    write_text(tmp_path / "a", "text")
    assert done == [False, "renamed", True]


def test_files_and_folders_can_be_read_by_whomever_the_mask_allows(tmp_path):
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "a", "text")
        with partial_folder(tmp_path / "b") as partial:
            (partial / "c").write_text("text")
            put_folder(partial, tmp_path / "b")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "b")] == [0o644, 0o755]


def test_a_text_that_was_cut_or_changed_is_found(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(seal_text("seed: 1\nname: x\n"))
    assert text_fault(path) == ""
    path.write_text(path.read_text().replace("seed: 1", "seed: 3"))
    assert "checksum" in text_fault(path)
    path.write_text("seed: 1\n")
    assert text_fault(path) == ""  # of an older release
    for content in (b"", b"\n", b"\xff"):
        path.write_bytes(content)
        assert text_fault(path)


def test_damaged_lines_cost_themselves_and_are_named_once(tmp_path, told):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps(seal({"number": number})) + "\n" for number in range(5)]
    lines[1], lines[3] = lines[1].replace('"number": 1', '"number": 7'), "\0" * 10 + "\n"
    path.write_text("".join(lines) + '{"torn')
    found = list(read_lines(path))
    assert [line.record and line.record["number"] for line in found] == [0, None, 2, None, 4]
    assert found[-1].end == len("".join(lines))
    assert list(read_lines(path, found[2].end)) == found[3:]
    assert len(told()) == 1


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


def in_a_process(work, *arguments):
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def test_what_a_killed_process_has_left_is_removed_by_the_next_and_that_of_a_living_one_is_not(tmp_path):
    assert in_a_process(_fill_and_die, tmp_path / "a") == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2, "the folder and its lock"
    with partial_folder(tmp_path / "b") as living:
        assert len(list(tmp_path.iterdir())) == 2
        with partial_folder(tmp_path / "c"):
            assert living.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_successor_was_killed_on_the_way_is_put_back(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_text("old")
    assert in_a_process(_die_between_the_renames, tmp_path / "a") == -signal.SIGKILL
    assert not (tmp_path / "a").exists()
    files.remove_partial_folders(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "old").read_text() == "old"
