import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from audio_lm.tracking.journal import Journal, finite, safe_name


def all_points(journal, run_id="run"):
    return [point for points, _ in journal.unsent(run_id) for point in points]


@given(st.text(max_size=400))
def test_any_name_becomes_one_that_mlflow_takes(name):
    safe = safe_name(name)
    _validate_metric_name(safe)
    assert safe_name(safe) == safe


@pytest.mark.parametrize("name", ["loss/asr", "val/fsdd/test/wer", "lr encoder", "a-b_c.d"])
def test_our_own_names_stay_as_they_are(name):
    assert safe_name(name) == name


def test_what_is_no_finite_number_is_told_and_not_stored():
    told = finite({"loss": math.nan, "norm": math.inf, "lr": 1e-4})
    assert told == {"nonfinite/loss": 1.0, "nonfinite/norm": 1.0, "lr": 1e-4}


def test_the_file_is_strict_json(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl", resume=False)
    journal.write({"loss": math.nan, "task:asr": 2}, 3)
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    record = json.loads(line, parse_constant=lambda name: pytest.fail(name))
    assert record["step"] == 3
    assert record["values"] == {"nonfinite/loss": 1.0, "task_asr": 2.0}


def test_a_restart_leaves_no_holes_and_writes_no_step_twice(tmp_path):
    first = Journal(tmp_path / "metrics.jsonl", resume=True)
    for step in range(1, 8):
        first.write({"loss": float(step)}, step)
    second = Journal(tmp_path / "metrics.jsonl", resume=True)
    for step in range(4, 11):
        second.write({"loss": float(step)}, step)
    assert [point.step for point in all_points(second)] == list(range(1, 11))


def test_a_summary_may_be_measured_again(tmp_path):
    Journal(tmp_path / "metrics.jsonl", resume=True).write({"wer": 0.5}, 0)
    second = Journal(tmp_path / "metrics.jsonl", resume=True)
    second.write({"wer": 0.25}, 0)
    assert [point.value for point in all_points(second)] == [0.5, 0.25]


def test_a_new_start_forgets_the_values_of_the_old_one(tmp_path):
    Journal(tmp_path / "metrics.jsonl", resume=True).write({"loss": 1.0}, 5)
    second = Journal(tmp_path / "metrics.jsonl", resume=False)
    second.write({"loss": 2.0}, 5)
    assert [point.value for point in all_points(second)] == [2.0]


def test_a_line_torn_by_a_kill_is_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    Journal(path, resume=True).write({"loss": 1.0}, 1)
    with path.open("a") as file:
        file.write('{"time": 17, "st')
    journal = Journal(path, resume=True)
    journal.write({"loss": 2.0}, 2)
    assert [point.value for point in all_points(journal)] == [1.0, 2.0]


def test_only_what_a_run_does_not_have_is_sent(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl", resume=True)
    for step in range(3000):
        journal.write({"loss": 1.0, "norm": 2.0}, step)
    batches = list(journal.unsent("run"))
    assert len(batches) > 1
    assert sum(len(points) for points, _ in batches) == 6000
    journal.mark_sent("run", batches[-1][1])
    journal.write({"loss": 0.5}, 3000)
    assert [point.value for point in all_points(journal)] == [0.5]
    assert len(all_points(journal, "another run")) == 6001


def test_a_line_that_is_being_written_waits_for_its_end(tmp_path):
    path = tmp_path / "metrics.jsonl"
    journal = Journal(path, resume=True)
    journal.write({"loss": 1.0}, 1)
    line = path.read_bytes()
    with path.open("ab") as file:
        file.write(line[:10])
    ((points, offset),) = journal.unsent("run")
    assert len(points) == 1
    assert offset == len(line)
