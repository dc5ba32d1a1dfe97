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


def test_what_every_rank_finds_is_said_by_one_and_what_one_finds_by_that_one():
    said = on_ranks(3, lambda number: (is_first_to_report("all"), is_first_to_report(f"only {number}")))
    assert sorted(everybody for everybody, _ in said) == [False, False, True]
    assert all(alone for _, alone in said)


def test_every_start_says_it_again(monkeypatch):
    assert is_first_to_report("wrong", LAUNCHED)
    assert not is_first_to_report("wrong", LAUNCHED)
    assert is_first_to_report("wrong", LAUNCHED | {"TORCHELASTIC_RESTART_COUNT": "1"})
    monkeypatch.setattr(dedupe_errors.os, "getppid", lambda: 1)  # another agent
    assert is_first_to_report("wrong", LAUNCHED)


def test_who_was_begun_by_hand_or_alone_says_everything(folder):
    for environment in ({"WORLD_SIZE": "2"}, {"WORLD_SIZE": "1", "SLURM_JOB_ID": "7"}):
        assert all(is_first_to_report("wrong", environment) for _ in range(2))
    assert not [*folder.iterdir()]


def test_without_room_for_the_word_it_is_said_and_not_lost(monkeypatch, folder):
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "gone"))
    assert all(is_first_to_report("wrong", LAUNCHED) for _ in range(2))
