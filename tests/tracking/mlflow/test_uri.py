import pytest

from audio_lm.common.errors import UserError
from audio_lm.tracking.mlflow.uri import tracking_uri


def test_the_default_is_an_absolute_file_where_we_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"


def test_the_environment_wins(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri("sqlite:///other.db") == "http://127.0.0.1:5000"


@pytest.mark.parametrize("refused", ["file:./mlruns", "mlruns", "./mlruns"])
def test_a_folder_of_files_is_refused_before_training(refused, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="sqlite:///PATH"):
        tracking_uri(refused)


def test_a_refused_address_is_told_without_its_password(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="'ftp://host'"):
        tracking_uri("ftp://me:secret@host")
