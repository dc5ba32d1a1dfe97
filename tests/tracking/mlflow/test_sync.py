import pytest
from mlflow import MlflowClient

from audio_lm.common.errors import UserError
from audio_lm.tracking.config import TrackingConfig
from audio_lm.tracking.facts import RunFacts
from audio_lm.tracking.mlflow.sync import runs_below, sync
from audio_lm.tracking.mlflow.worker import sync_lock
from audio_lm.tracking.run import open_recipe_run
from tests.run.command import run

pytestmark = pytest.mark.usefixtures("in_process_sync")


@pytest.fixture
def runs(uri, tmp_path):
    """Folder with two runs of which nothing is sent yet."""
    for name in ("a", "b"):
        run = open_recipe_run(
            TrackingConfig(),
            facts=RunFacts(recipe="digits"),
            folder=tmp_path / "runs" / name,
            recipe_yaml="",
            settings={"a": 1},
        )
        run.stage("pretrain").log_metrics({"loss": 1.0}, 1)
        run.close("FINISHED")
    return tmp_path / "runs"


def test_the_unsent_data_of_all_runs_is_sent_and_reported(runs, uri):
    messages = []
    sync(runs_below(runs), messages.append)
    assert [
        line.startswith(f"{runs / name}: sent 1 points and ")
        for line, name in zip(messages, "ab", strict=True)
    ]
    client = MlflowClient(uri)
    sent = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert sorted((run.data.tags["kind"], run.info.status) for run in sent) == [
        ("recipe", "FINISHED"), ("recipe", "FINISHED"), ("stage", "KILLED"), ("stage", "KILLED"),
    ]  # fmt: skip
    sync([runs / "a"], messages.append)
    assert messages[-1] == f"{runs / 'a'}: {uri} has everything"


def test_an_unreachable_store_is_reported_after_all_runs_were_tried(runs, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(
        UserError, match=r"runs/a: http://127.0.0.1:9 received 0 points.*runs/b: http"
    ) as raised:
        sync(runs_below(runs), pytest.fail)
    assert "secret" not in str(raised.value)


def test_a_run_that_another_process_syncs_is_skipped(runs):
    messages = []
    with sync_lock(runs / "a"):
        sync([runs / "a"], messages.append)
    assert messages == [f"{runs / 'a'}: its sync process is sending it now"]


def test_a_folder_without_a_run_is_a_user_error(runs, tmp_path):
    with pytest.raises(UserError, match="has no tracking"):
        sync([tmp_path], pytest.fail)
    with pytest.raises(UserError, match="name a folder of runs"):
        runs_below(tmp_path / "nowhere")


def test_the_command_accepts_runs_or_folders_of_runs(runs, uri, capsys):
    assert run("track", "sync", runs / "a") == 0
    assert "sent 1 points" in capsys.readouterr().out
    assert run("track", "sync", "--all", runs) == 0
    assert capsys.readouterr().out.count("has everything") == 2
    assert run("track", "sync", runs) == 2
    assert "has no tracking.jsonl" in capsys.readouterr().err
