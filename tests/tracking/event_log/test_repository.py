import os
import shutil
import stat
import subprocess

import pytest

from audio_lm.tracking.event_log.repository import read_repository

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder, *arguments, check=True):
    identity = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=check, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    git(folder, "init", "-b", "trunk")
    (folder / "code.py").write_text("a = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    (folder / "code.py").write_text("a = 2\n")
    return folder


@pytest.fixture
def trap(tmp_path):
    """Program that creates the file ``ran`` when it is executed."""
    path = tmp_path / "trap"
    path.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\ncat 2>/dev/null\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return path


def by_monitor(folder, trap):
    git(folder, "config", "core.fsmonitor", str(trap))


def by_included_configuration(folder, trap):
    (folder / "more").write_text(f"[core]\n\tfsmonitor = {trap}\n")
    git(folder, "config", "include.path", str(folder / "more"))


def by_hooks(folder, trap):
    (folder / "hooks").mkdir()
    shutil.copy(trap, folder / "hooks" / "post-index-change")
    git(folder, "config", "core.hooksPath", str(folder / "hooks"))


def by_filter(folder, trap):
    (folder / ".gitattributes").write_text("* filter=evil\n")
    git(folder, "config", "filter.evil.clean", str(trap))


def by_filter_process(folder, trap):
    (folder / ".gitattributes").write_text("* filter=evil\n")
    git(folder, "config", "filter.evil.process", str(trap))


def by_converter(folder, trap):
    (folder / ".gitattributes").write_text("* diff=evil\n")
    git(folder, "config", "diff.evil.textconv", str(trap))


def by_diff_of_a_kind(folder, trap):
    (folder / ".gitattributes").write_text("* diff=evil\n")
    git(folder, "config", "diff.evil.command", str(trap))


def by_diff(folder, trap):
    git(folder, "config", "diff.external", str(trap))


def by_submodule(folder, trap):
    inner = folder.parent / "inner"
    inner.mkdir()
    git(inner, "init", "-b", "trunk")
    git(inner, "commit", "--allow-empty", "-m", "first")
    git(folder, "submodule", "add", str(inner), "sub")
    git(folder / "sub", "config", "core.fsmonitor", str(trap))


WAYS = [
    by_monitor, by_included_configuration, by_hooks, by_filter, by_filter_process, by_converter, by_diff_of_a_kind,
    by_diff, by_submodule,
]  # fmt: skip


@pytest.mark.parametrize("plant", WAYS)
def test_no_program_of_the_repository_configuration_is_run(plant, repository, trap, tmp_path):
    plant(repository, trap)
    (tmp_path / "ran").unlink(missing_ok=True)
    state = read_repository(repository)
    assert not (tmp_path / "ran").exists(), "the program ran"
    assert "+a = 2" in state.diff
    assert state.branch == "trunk"
    assert len(state.commit) == 40


@pytest.mark.parametrize("plant", WAYS)
def test_plain_git_would_run_the_program(plant, repository, trap, tmp_path):
    plant(repository, trap)
    (tmp_path / "ran").unlink(missing_ok=True)
    os.utime(repository / "code.py", (1, 1))
    git(repository, "status", "--porcelain", check=False)
    git(repository, "diff", "HEAD", check=False)
    assert (tmp_path / "ran").exists(), "control case"


def test_git_variables_that_name_programs_are_not_passed_to_git(repository, trap, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(trap))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(trap))
    assert "+a = 2" in read_repository(repository).diff
    assert not (tmp_path / "ran").exists()


def test_ignored_files_are_no_changes(repository):
    (repository / ".git" / "info" / "exclude").write_text("*.log\n")
    (repository / "a.log").write_text("")
    (repository / "b.txt").write_text("")
    assert read_repository(repository).status.split() == ["M", "code.py", "??", "b.txt"]


def test_file_modes_are_ignored_if_the_repository_ignores_them(repository):
    git(repository, "commit", "-am", "second")
    (repository / "code.py").chmod(0o755)
    assert read_repository(repository).status
    git(repository, "config", "core.fileMode", "false")
    assert not read_repository(repository).status


def test_a_subfolder_of_a_worktree_is_read(repository, tmp_path):
    git(repository, "worktree", "add", "-b", "branch", str(tmp_path / "other"))
    (tmp_path / "other" / "code.py").write_text("a = 3\n")
    (tmp_path / "other" / "below").mkdir()
    state = read_repository(tmp_path / "other" / "below")
    assert state.branch == "branch"
    assert "+a = 3" in state.diff


def test_the_index_of_the_repository_is_not_modified(repository):
    before = (repository / ".git" / "index").stat().st_mtime_ns
    os.utime(repository / "code.py", (1, 1))
    read_repository(repository)
    assert (repository / ".git" / "index").stat().st_mtime_ns == before
