import pytest

from audio_lm.common.errors import UserError
from audio_lm.tracking.mlflow.uri import tracking_uri


def test_the_default_is_a_file_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"


def test_the_environment_has_precedence(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri("sqlite:///other.db") == "http://127.0.0.1:5000"


@pytest.mark.parametrize("refused", ["file:./mlruns", "mlruns", "./mlruns"])
def test_a_file_store_is_refused(refused, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="sqlite:///PATH"):
        tracking_uri(refused)


def test_a_refused_uri_is_reported_without_its_password(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="'ftp://host'"):
        tracking_uri("ftp://me:secret@host")
