import tempfile

import pytest

from audio_lm.fault_tolerance import dedupe_errors
from audio_lm.fault_tolerance.dedupe_errors import is_first_to_report
from tests.forked import on_ranks

LAUNCHED = {"WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_an_error_of_all_ranks_is_reported_once_and_an_error_of_one_rank_by_that_rank():
    reports = on_ranks(3, lambda number: (is_first_to_report("all"), is_first_to_report(f"only {number}")))
    assert sorted(common for common, _ in reports) == [False, False, True]
    assert all(own for _, own in reports)


def test_every_start_reports_again(monkeypatch):
    assert is_first_to_report("wrong", LAUNCHED)
    assert not is_first_to_report("wrong", LAUNCHED)
    assert is_first_to_report("wrong", LAUNCHED | {"TORCHELASTIC_RESTART_COUNT": "1"})
    monkeypatch.setattr(dedupe_errors.os, "getppid", lambda: 1)  # another agent
    assert is_first_to_report("wrong", LAUNCHED)


def test_ranks_started_by_hand_and_single_ranks_report_everything(folder):
    for environment in ({"WORLD_SIZE": "2"}, {"WORLD_SIZE": "1", "SLURM_JOB_ID": "7"}):
        assert all(is_first_to_report("wrong", environment) for _ in range(2))
    assert not [*folder.iterdir()]


def test_an_error_is_reported_even_if_the_temporary_file_cannot_be_created(monkeypatch, folder):
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "gone"))
    assert all(is_first_to_report("wrong", LAUNCHED) for _ in range(2))
