import shutil
import subprocess

import pytest

from audio_lm.tracking.event_log.provenance import digest_of_files, filter_environment, provenance


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    git(tmp_path, "init", "-b", "trunk")
    (tmp_path / "code.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    git(tmp_path, "remote", "add", "origin", "https://me:secret@host/repo.git")
    return tmp_path


def test_a_clean_repository_has_a_commit_and_no_diff(repository):
    origin = provenance(repository)
    assert len(origin.tags["mlflow.source.git.commit"]) == 40
    assert origin.tags["mlflow.source.git.branch"] == "trunk"
    assert origin.tags["mlflow.source.git.dirty"] == "false"
    assert origin.tags["mlflow.source.git.repoURL"] == "https://host/repo.git"
    assert "provenance/uncommitted.diff" not in origin.file_of_path


def test_uncommitted_changes_are_logged(repository):
    (repository / "code.py").write_text("a = 2\n")
    (repository / "new.py").write_text("")
    origin = provenance(repository)
    assert origin.tags["mlflow.source.git.dirty"] == "true"
    diff = origin.file_of_path["provenance/uncommitted.diff"]
    assert "+a = 2" in diff
    assert "new.py" in diff


def test_outside_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    origin = provenance(tmp_path)
    assert not [name for name in origin.tags if "git" in name]
    assert "version.torch" in origin.tags
    assert "mlflow==" in origin.file_of_path["provenance/packages.txt"]


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "mlflow.source.git.commit" not in provenance(tmp_path).tags


def test_secrets_of_the_environment_are_not_logged():
    kept = filter_environment({
        "MLFLOW_TRACKING_PASSWORD": "p", "MLFLOW_TRACKING_USERNAME": "u",
        "AWS_SECRET_ACCESS_KEY": "k", "HF_TOKEN": "t", "SLURM_JWT": "j",
        "SLURM_JOB_ID": "7", "MLFLOW_TRACKING_URI": "http://u:p@host",
    })  # fmt: skip
    assert kept == {"SLURM_JOB_ID": "7", "MLFLOW_TRACKING_URI": "http://host"}


def test_the_command_line_is_logged_without_secrets(repository, monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["train.py", "demo", "corpora.mine.api_key=abc", "tracking.uri=http://u:p@host"]
    )
    assert (
        provenance(repository).tags["command"]
        == "train.py demo 'corpora.mine.api_key=***' tracking.uri=http://host"
    )


def test_a_secret_in_the_diff_is_masked(repository):
    (repository / "code.py").write_text("token = 'hf_" + 30 * "a" + "'\n")
    assert "hf_" not in provenance(repository).file_of_path["provenance/uncommitted.diff"]


def test_equal_files_have_equal_digests(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("x")
    second.write_text("x")
    assert digest_of_files(first) == digest_of_files(second)
    assert len(digest_of_files(first)) <= 36
    second.write_text("y")
    assert digest_of_files(first) != digest_of_files(second)
