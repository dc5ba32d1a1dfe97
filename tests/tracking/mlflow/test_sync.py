import pytest
from mlflow import MlflowClient

from audio_lm.common.errors import UserError
from audio_lm.tracking.config import TrackingConfig
from audio_lm.tracking.mlflow.sync import runs_below, sync
from audio_lm.tracking.mlflow.worker import sync_lock
from audio_lm.tracking.run import open_recipe_run
from tests.run.command import run

pytestmark = pytest.mark.usefixtures("sending_here")


@pytest.fixture
def runs(uri, tmp_path):
    """Two runs of which nothing was sent."""
    for name in ("a", "b"):
        run = open_recipe_run(
            TrackingConfig(), name="digits", folder=tmp_path / "runs" / name, recipe_yaml="", params={}
        )
        run.stage("pretrain").log_metrics({"loss": 1.0}, 1)
        run.close("FINISHED")
    return tmp_path / "runs"


def test_what_is_left_of_every_run_is_sent_and_said(runs, uri):
    said = []
    sync(runs_below(runs), said.append)
    assert [
        line.startswith(f"{runs / name}: sent 1 points and ") for line, name in zip(said, "ab", strict=True)
    ]
    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert sorted((run.data.tags["kind"], run.info.status) for run in found) == [
        ("recipe", "FINISHED"), ("recipe", "FINISHED"), ("stage", "KILLED"), ("stage", "KILLED"),
    ]  # fmt: skip
    sync([runs / "a"], said.append)
    assert said[-1] == f"{runs / 'a'}: {uri} has everything"


def test_a_store_that_is_away_is_said_after_every_run_was_tried(runs, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"runs/a: http://127.0.0.1:9 took 0 points.*runs/b: http") as raised:
        sync(runs_below(runs), pytest.fail)
    assert "secret" not in str(raised.value)


def test_a_run_that_is_being_sent_is_left_alone(runs):
    said = []
    with sync_lock(runs / "a"):
        sync([runs / "a"], said.append)
    assert said == [f"{runs / 'a'}: a process of its own is sending it now"]


def test_a_folder_without_a_run_is_the_users_to_correct(runs, tmp_path):
    with pytest.raises(UserError, match="holds no tracking"):
        sync([tmp_path], pytest.fail)
    with pytest.raises(UserError, match="name a folder of runs"):
        runs_below(tmp_path / "nowhere")


def test_the_command_takes_runs_or_folders_of_runs(runs, uri, capsys):
    assert run("track", "sync", runs / "a") == 0
    assert "sent 1 points" in capsys.readouterr().out
    assert run("track", "sync", "--all", runs) == 0
    assert capsys.readouterr().out.count("has everything") == 2
    assert run("track", "sync", runs) == 2
    assert "holds no tracking.jsonl" in capsys.readouterr().err
