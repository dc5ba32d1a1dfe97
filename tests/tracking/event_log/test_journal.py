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


def values(folder, resume=True):
    return MetricsWriter(folder / "metrics.jsonl", journal_id="j", resume=resume)


def points(folder):
    return [point for line in read_events(folder / "metrics.jsonl") for point in points_of(line.record)]


def test_the_file_is_strict_json_with_a_head(tmp_path):
    values(tmp_path).write({"loss": math.nan, "task": 2}, 3)
    head, line = (
        json.loads(line, parse_constant=lambda name: pytest.fail(name))
        for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    )
    assert (head["values"], head["journal"]) == ({}, "j")
    assert line["step"] == 3
    assert line["values"] == {"nonfinite/loss": 1.0, "task": 2.0}


def test_a_restart_leaves_no_holes_and_writes_no_step_twice(tmp_path):
    first = values(tmp_path)
    for step in range(1, 8):
        first.write({"loss": float(step)}, step)
    second = values(tmp_path)
    for step in range(4, 11):
        second.write({"loss": float(step)}, step)
    assert [point.step for point in points(tmp_path)] == list(range(1, 11))


def test_a_summary_is_told_again_when_it_is_another_one(tmp_path):
    values(tmp_path).write({"wer": 0.5}, 0)
    second = values(tmp_path)
    for wer in (0.5, 0.25, 0.25):
        second.write({"wer": wer}, 0)
    assert [point.value for point in points(tmp_path)] == [0.5, 0.25]


def test_a_new_start_forgets_the_values_of_the_old_one(tmp_path):
    values(tmp_path).write({"loss": 1.0}, 5)
    values(tmp_path, resume=False).write({"loss": 2.0}, 5)
    assert [point.value for point in points(tmp_path)] == [2.0]


def test_a_line_torn_by_a_kill_is_cut(tmp_path):
    values(tmp_path).write({"loss": 1.0}, 1)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"time": 17, "st')
    values(tmp_path).write({"loss": 2.0}, 2)
    assert [point.value for point in points(tmp_path)] == [1.0, 2.0]


def test_a_line_that_is_being_written_waits_for_its_end(tmp_path):
    values(tmp_path).write({"loss": 1.0}, 1)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(whole[:10])
    lines = list(read_events(path))
    assert lines[-1].end == len(whole)
    assert len(points(tmp_path)) == 1


def test_a_damaged_line_costs_itself(tmp_path, warned):
    values(tmp_path).write({"loss": 1.0}, 1)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(bytes(40) + b"\n")
    values(tmp_path).write({"loss": 2.0}, 2)
    assert [point.value for point in points(tmp_path)] == [1.0, 2.0]
    assert "damaged" in warned()[0]


def test_what_is_no_number_does_not_raise_and_is_told_once(tmp_path, warned):
    ours = values(tmp_path)
    for step in (1, 2):
        ours.write({"note": "warm", "loss": 1.0}, step)
    assert len(points(tmp_path)) == 2
    assert len(warned()) == 1


@pytest.fixture
def small_disk(tmp_path):
    """Makes the disk full from a number of bytes on."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(num_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes or before[0], before[1]))

    yield limit
    limit(None)


def test_a_full_disk_costs_points_that_are_counted_and_never_a_step(tmp_path, small_disk, warned):
    ours = values(tmp_path)
    small_disk(1000)
    for step in range(1, 101):
        ours.write({"loss": float(step)}, step)
    num_kept = len(points(tmp_path))
    assert 0 < num_kept < 100
    assert num_kept + ours.num_dropped == 100
    small_disk(None)
    ours.write({"loss": 101.0}, 101)
    (*_, loss, dropped) = points(tmp_path)
    assert (loss.name, loss.step) == ("loss", 101)
    assert (dropped.name, dropped.value) == (DROPPED, 100.0 - num_kept)
    assert [point.step for point in points(tmp_path)][:num_kept] == list(range(1, num_kept + 1))
    assert len([line for line in warned() if "cannot be written" in line]) == 1


def test_a_line_that_did_not_fit_would_spoil_the_next_one_if_it_were_left(tmp_path, small_disk):
    ours = values(tmp_path)
    small_disk((tmp_path / "metrics.jsonl").stat().st_size + 10)
    ours._lines._mend = lambda: None
    ours.write({"loss": 1.0}, 1)
    small_disk(None)
    ours.write({"loss": 2.0}, 2)
    assert points(tmp_path) == [], "the control: without mending both are lost"


def test_a_run_is_known_by_one_id_until_it_begins_anew(tmp_path):
    first = Journal(tmp_path, resume=False).open_run("recipe", resume=False)
    second = Journal(tmp_path, resume=True)
    assert second.open_run("recipe", resume=True) == first
    assert second.open_run("stages/a", resume=True) != first
    assert second.open_run("recipe", resume=False) != first
    assert Journal(tmp_path, resume=False).open_run("recipe", resume=True) != first


def test_a_setting_is_compared_with_what_the_run_began_with(tmp_path):
    first = Journal(tmp_path, resume=False)
    first.open_run("recipe", resume=False)
    first.append("params", "recipe", params={"lr": "1"})
    second = Journal(tmp_path, resume=True)
    second.open_run("recipe", resume=True)
    second.append("params", "recipe", params={"lr": "2"})
    third = Journal(tmp_path, resume=True)
    assert third.changed("recipe", {"lr": "3", "steps": "4"}) == {"lr": ["1", "3"]}
    third.open_run("recipe", resume=False)
    assert third.changed("recipe", {"lr": "3"}) == {}


def test_who_writes_a_journal_is_seen_by_others_until_it_ends(tmp_path):
    def hold(ready, done):
        Journal(tmp_path, resume=False)
        ready.set()
        done.wait(20)

    processes = multiprocessing.get_context("fork")
    ready, done = processes.Event(), processes.Event()
    assert not has_writer(tmp_path)
    writer = processes.Process(target=hold, args=(ready, done))
    writer.start()
    ready.wait(20)
    assert has_writer(tmp_path)
    done.set()
    writer.join(20)
    assert not has_writer(tmp_path)


def spoil(path, number, damage=lambda line: line.replace(b":", b";")):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = damage(lines[number])
    path.write_bytes(b"".join(lines))


def test_what_a_damaged_line_held_is_written_again_when_it_comes_and_nothing_else_is(tmp_path):
    first = values(tmp_path)
    for step in range(1, 8):
        first.write({"loss": float(step)}, step)
    spoil(tmp_path / "metrics.jsonl", 5)
    second = values(tmp_path)
    for step in range(4, 11):
        second.write({"loss": float(step)}, step)
    assert sorted(point.step for point in points(tmp_path)) == list(range(1, 11))


def test_a_value_with_a_flipped_bit_is_none(tmp_path):
    values(tmp_path).write({"loss": 4.5}, 1)
    spoil(tmp_path / "metrics.jsonl", 1, lambda line: line.replace(b"4.5", b"6.5"))
    assert points(tmp_path) == []


def test_a_head_that_is_damaged_is_written_again(tmp_path):
    values(tmp_path).write({"loss": 1.0}, 1)
    spoil(tmp_path / "metrics.jsonl", 0)
    values(tmp_path)
    assert head_of(tmp_path / "metrics.jsonl") == "j"


def test_a_journal_whose_entries_are_lost_goes_on_by_the_id_that_its_values_know(tmp_path):
    first = Journal(tmp_path, resume=False).open_run("recipe", resume=False, name="a", tags={})
    (tmp_path / "tracking.jsonl").write_bytes(b"")
    again = Journal(tmp_path, resume=True)
    assert again.open_run("recipe", resume=True, known=first, name="a", tags={}) == first


@pytest.mark.parametrize(
    "line", [b"{}", b"[]", b"7", b'{"kind": "params", "run": "a"}', b'{"values": 3}', b"\xff"]
)
def test_lines_of_another_shape_are_passed_over(tmp_path, line):
    journal = Journal(tmp_path, resume=False)
    journal.open_run("recipe", resume=False, name="a", tags={})
    for name in ("tracking.jsonl", "metrics.jsonl"):
        with (tmp_path / name).open("ab") as file:
            file.write(line + b"\n")
    again = Journal(tmp_path, resume=True)
    values(tmp_path).write({"loss": 1.0}, 1)
    assert [one.record["kind"] for one in read_events(tmp_path / "tracking.jsonl")] == ["open"]
    assert [point.step for point in points(tmp_path)] == [1]
    assert again.open_run("recipe", resume=True, name="a", tags={})


def test_nothing_is_changed_in_a_folder_that_is_another_process_s(tmp_path):
    values(tmp_path).write({"loss": 1.0}, 1)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    for resume in (True, False):
        other = MetricsWriter(
            tmp_path / "metrics.jsonl", journal_id="j", resume=resume, write_guard=lambda: nullcontext(False)
        )
        other.write({"loss": 2.0}, 2)
        assert (tmp_path / "metrics.jsonl").read_bytes() == before
        assert other.num_dropped == 0, "nothing that had to be kept is missing"


def test_the_first_step_of_a_curve_is_not_written_twice_by_a_start_that_begins_anew(tmp_path):
    first = values(tmp_path)
    for step in range(4):
        first.write({"loss": float(step)}, step)
    second = values(tmp_path)
    for step in range(6):
        second.write({"loss": step + 1e-6}, step)
    assert [point.step for point in points(tmp_path)] == list(range(6))
