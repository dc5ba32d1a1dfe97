import json
import math
import multiprocessing
import resource
from contextlib import nullcontext

import pytest

from audio_lm.tracking.event_log.journal import (
    DROPPED,
    Journal,
    MetricsWriter,
    has_writer,
    head_of,
    points_of,
    read_events,
)


def writer(folder, resume=True):
    return MetricsWriter(folder / "metrics.jsonl", journal_id="j", resume=resume)


def points(folder):
    return [point for line in read_events(folder / "metrics.jsonl") for point in points_of(line.record)]


def test_the_file_is_strict_json_with_a_header(tmp_path):
    writer(tmp_path).write({"loss": math.nan, "task": 2}, 3)
    head, line = (
        json.loads(line, parse_constant=lambda name: pytest.fail(name))
        for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    )
    assert (head["values"], head["journal"]) == ({}, "j")
    assert line["step"] == 3
    assert line["values"] == {"nonfinite/loss": 1.0, "task": 2.0}


def test_a_restart_leaves_no_gaps_and_repeats_no_step(tmp_path):
    first = writer(tmp_path)
    for step in range(1, 8):
        first.write({"loss": float(step)}, step)
    second = writer(tmp_path)
    for step in range(4, 11):
        second.write({"loss": float(step)}, step)
    assert [point.step for point in points(tmp_path)] == list(range(1, 11))


def test_a_summary_is_logged_again_only_if_it_changes(tmp_path):
    writer(tmp_path).write({"wer": 0.5}, 0)
    second = writer(tmp_path)
    for wer in (0.5, 0.25, 0.25):
        second.write({"wer": wer}, 0)
    assert [point.value for point in points(tmp_path)] == [0.5, 0.25]


def test_without_resume_earlier_metrics_are_removed(tmp_path):
    writer(tmp_path).write({"loss": 1.0}, 5)
    writer(tmp_path, resume=False).write({"loss": 2.0}, 5)
    assert [point.value for point in points(tmp_path)] == [2.0]


def test_a_line_torn_by_a_kill_is_removed(tmp_path):
    writer(tmp_path).write({"loss": 1.0}, 1)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"time": 17, "st')
    writer(tmp_path).write({"loss": 2.0}, 2)
    assert [point.value for point in points(tmp_path)] == [1.0, 2.0]


def test_an_incomplete_line_is_not_read(tmp_path):
    writer(tmp_path).write({"loss": 1.0}, 1)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(whole[:10])
    lines = list(read_events(path))
    assert lines[-1].end == len(whole)
    assert len(points(tmp_path)) == 1


def test_only_a_damaged_line_is_lost(tmp_path, warnings_logged):
    writer(tmp_path).write({"loss": 1.0}, 1)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(bytes(40) + b"\n")
    writer(tmp_path).write({"loss": 2.0}, 2)
    assert [point.value for point in points(tmp_path)] == [1.0, 2.0]
    assert "damaged" in warnings_logged()[0]


def test_a_value_that_is_not_a_number_is_reported_once(tmp_path, warnings_logged):
    metrics = writer(tmp_path)
    for step in (1, 2):
        metrics.write({"note": "warm", "loss": 1.0}, step)
    assert len(points(tmp_path)) == 2
    assert len(warnings_logged()) == 1


@pytest.fixture
def small_disk(tmp_path):
    """Function that limits files to a number of bytes, as a full disk does; None removes the limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(num_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes or before[0], before[1]))

    yield limit
    limit(None)


def test_a_full_disk_drops_and_counts_points_without_raising(tmp_path, small_disk, warnings_logged):
    metrics = writer(tmp_path)
    small_disk(1000)
    for step in range(1, 101):
        metrics.write({"loss": float(step)}, step)
    num_kept = len(points(tmp_path))
    assert 0 < num_kept < 100
    assert num_kept + metrics.num_dropped == 100
    small_disk(None)
    metrics.write({"loss": 101.0}, 101)
    (*_, loss, dropped) = points(tmp_path)
    assert (loss.name, loss.step) == ("loss", 101)
    assert (dropped.name, dropped.value) == (DROPPED, 100.0 - num_kept)
    assert [point.step for point in points(tmp_path)][:num_kept] == list(range(1, num_kept + 1))
    assert len([line for line in warnings_logged() if "cannot be written" in line]) == 1


def test_a_torn_line_that_is_not_removed_spoils_the_next_one(tmp_path, small_disk):
    metrics = writer(tmp_path)
    small_disk((tmp_path / "metrics.jsonl").stat().st_size + 10)
    metrics._lines._remove_torn_line = lambda: None
    metrics.write({"loss": 1.0}, 1)
    small_disk(None)
    metrics.write({"loss": 2.0}, 2)
    assert points(tmp_path) == [], "control case: without the repair both are lost"


def test_a_run_keeps_its_journal_id_until_it_starts_anew(tmp_path):
    first = Journal(tmp_path, resume=False).open_run("recipe", resume=False)
    second = Journal(tmp_path, resume=True)
    assert second.open_run("recipe", resume=True) == first
    assert second.open_run("stages/a", resume=True) != first
    assert second.open_run("recipe", resume=False) != first
    assert Journal(tmp_path, resume=False).open_run("recipe", resume=True) != first


def test_params_are_compared_with_those_at_the_start_of_the_run(tmp_path):
    first = Journal(tmp_path, resume=False)
    first.open_run("recipe", resume=False)
    first.append("params", "recipe", params={"lr": "1"})
    second = Journal(tmp_path, resume=True)
    second.open_run("recipe", resume=True)
    second.append("params", "recipe", params={"lr": "2"})
    third = Journal(tmp_path, resume=True)
    assert third.changed_settings("recipe", {"lr": "3", "steps": "4"}) == {"lr": ["1", "3"]}
    third.open_run("recipe", resume=False)
    assert third.changed_settings("recipe", {"lr": "3"}) == {}


def test_other_processes_detect_the_writer_of_a_journal(tmp_path):
    def hold(ready, done):
        Journal(tmp_path, resume=False)
        ready.set()
        done.wait(20)

    processes = multiprocessing.get_context("fork")
    ready, done = processes.Event(), processes.Event()
    assert not has_writer(tmp_path)
    process = processes.Process(target=hold, args=(ready, done))
    process.start()
    ready.wait(20)
    assert has_writer(tmp_path)
    done.set()
    process.join(20)
    assert not has_writer(tmp_path)


def damage_line(path, number, damage=lambda line: line.replace(b":", b";")):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = damage(lines[number])
    path.write_bytes(b"".join(lines))


def test_only_points_of_a_damaged_line_are_logged_again(tmp_path):
    first = writer(tmp_path)
    for step in range(1, 8):
        first.write({"loss": float(step)}, step)
    damage_line(tmp_path / "metrics.jsonl", 5)
    second = writer(tmp_path)
    for step in range(4, 11):
        second.write({"loss": float(step)}, step)
    assert sorted(point.step for point in points(tmp_path)) == list(range(1, 11))


def test_a_value_with_a_flipped_bit_is_skipped(tmp_path):
    writer(tmp_path).write({"loss": 4.5}, 1)
    damage_line(tmp_path / "metrics.jsonl", 1, lambda line: line.replace(b"4.5", b"6.5"))
    assert points(tmp_path) == []


def test_a_damaged_header_is_written_again(tmp_path):
    writer(tmp_path).write({"loss": 1.0}, 1)
    damage_line(tmp_path / "metrics.jsonl", 0)
    writer(tmp_path)
    assert head_of(tmp_path / "metrics.jsonl") == "j"


def test_a_lost_journal_continues_with_the_id_in_the_metrics_file(tmp_path):
    first = Journal(tmp_path, resume=False).open_run("recipe", resume=False, name="a", tags={})
    (tmp_path / "tracking.jsonl").write_bytes(b"")
    again = Journal(tmp_path, resume=True)
    assert again.open_run("recipe", resume=True, known=first, name="a", tags={}) == first


@pytest.mark.parametrize(
    "line", [b"{}", b"[]", b"7", b'{"kind": "params", "run": "a"}', b'{"values": 3}', b"\xff"]
)
def test_lines_of_another_structure_are_skipped(tmp_path, line):
    journal = Journal(tmp_path, resume=False)
    journal.open_run("recipe", resume=False, name="a", tags={})
    for name in ("tracking.jsonl", "metrics.jsonl"):
        with (tmp_path / name).open("ab") as file:
            file.write(line + b"\n")
    again = Journal(tmp_path, resume=True)
    writer(tmp_path).write({"loss": 1.0}, 1)
    assert [event.record["kind"] for event in read_events(tmp_path / "tracking.jsonl")] == ["open"]
    assert [point.step for point in points(tmp_path)] == [1]
    assert again.open_run("recipe", resume=True, name="a", tags={})


def test_a_folder_owned_by_another_process_is_not_changed(tmp_path):
    writer(tmp_path).write({"loss": 1.0}, 1)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    for resume in (True, False):
        other = MetricsWriter(
            tmp_path / "metrics.jsonl", journal_id="j", resume=resume, write_guard=lambda: nullcontext(False)
        )
        other.write({"loss": 2.0}, 2)
        assert (tmp_path / "metrics.jsonl").read_bytes() == before
        assert other.num_dropped == 0, "lines of a process without ownership do not count as dropped"


def test_step_zero_of_a_curve_is_not_logged_twice_after_a_restart(tmp_path):
    first = writer(tmp_path)
    for step in range(4):
        first.write({"loss": float(step)}, step)
    second = writer(tmp_path)
    for step in range(6):
        second.write({"loss": step + 1e-6}, step)
    assert [point.step for point in points(tmp_path)] == list(range(6))
