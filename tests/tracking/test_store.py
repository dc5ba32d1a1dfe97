import pytest

from audio_lm.errors import UserError
from audio_lm.tracking.provenance import Manifest
from audio_lm.tracking.store import (
    MlflowException,
    Store,
    flattened,
    is_refusal,
    read_run_ids,
    tracking_uri,
    write_run_ids,
)


def test_the_default_is_an_absolute_file_where_we_stand(uri):
    assert tracking_uri(None) == uri


def test_the_environment_wins(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri("sqlite:///other.db") == "http://127.0.0.1:5000"


@pytest.mark.parametrize("refused", ["file:./mlruns", "mlruns", "./mlruns"])
def test_a_folder_of_files_is_refused_before_training(uri, refused):
    with pytest.raises(UserError, match="sqlite:///PATH"):
        tracking_uri(refused)


def test_artifacts_lie_beside_the_database(store, client, tmp_path):
    run_id = store.open_run(None, name="r", tags={})
    assert client.get_run(run_id).info.artifact_uri.startswith(str(tmp_path / "mlartifacts" / "digits"))
    assert not (tmp_path / "mlruns").exists()


def test_a_known_run_is_running_again(store, client):
    run_id = store.open_run(None, name="r", tags={})
    store.close_run(run_id, "FAILED")
    assert store.open_run(run_id, name="r", tags={"again": "yes"}) == run_id
    run = client.get_run(run_id)
    assert run.info.status == "RUNNING"
    assert run.data.tags["again"] == "yes"


@pytest.mark.parametrize("lost", ["deleted", "never was"])
def test_a_run_that_is_gone_is_replaced(store, client, lost):
    run_id = "0" * 32
    if lost == "deleted":
        run_id = store.open_run(None, name="r", tags={})
        client.delete_run(run_id)
    assert store.open_run(run_id, name="r", tags={}) != run_id


def test_a_deleted_experiment_does_not_stand_in_the_way(store, client, uri):
    client.delete_experiment(store.experiment_id)
    again = Store(uri, "digits")
    assert client.get_experiment(again.experiment_id).name == "digits-2"


def test_parameters_are_recorded_once_and_a_change_is_told(store, client):
    run_id = store.open_run(None, name="r", tags={})
    assert store.log_params(run_id, {"optimizer": {"lr": 1e-4}}) == {}
    changed = store.log_params(run_id, {"optimizer": {"lr": 2e-4}, "steps": 10})
    assert changed == {"optimizer.lr": ["0.0001", "0.0002"]}
    run = client.get_run(run_id)
    assert run.data.params == {"optimizer.lr": "0.0001", "steps": "10"}
    assert run.data.tags["resume.changed"] == "optimizer.lr"


def test_many_and_long_parameters_fit(store, client):
    run_id = store.open_run(None, name="r", tags={})
    store.log_params(run_id, {f"p{number}": "x" * 7000 for number in range(120)})
    store.log_params(run_id, {f"p{number}": "x" * 7000 for number in range(120)})
    assert len(client.get_run(run_id).data.params) == 120


def test_inputs_keep_digest_hours_and_cuts(store, client, tmp_path):
    run_id = store.open_run(None, name="r", tags={})
    manifest = Manifest(
        name="fsdd/digits-train",
        path=tmp_path / "x.jsonl",
        digest="ab" * 20,
        hours=1.5,
        num_cuts=7,
        context="train",
    )
    store.log_manifests(run_id, [manifest, manifest])
    (found,) = client.get_run(run_id).inputs.dataset_inputs
    tags = {tag.key: tag.value for tag in found.tags}
    assert found.dataset.name == "fsdd/digits-train"
    assert len(found.dataset.digest) <= 36
    assert tags == {"mlflow.data.context": "train", "hours": "1.5", "num_cuts": "7"}


def test_run_ids_are_those_of_this_store_only(tmp_path):
    path = tmp_path / "mlflow.txt"
    write_run_ids(path, "http://me:secret@host:5000", {"recipe": "a1", "stages/chat": "b2"})
    assert "secret" not in path.read_text()
    assert read_run_ids(path, "http://me:secret@host:5000") == {"recipe": "a1", "stages/chat": "b2"}
    assert read_run_ids(path, "http://other:5000") == {}


def test_nested_settings_get_dotted_names():
    assert flattened({"a": {"b": 1, "c": {}}, "d:e": None}) == {"a.b": "1", "a.c": "{}", "d_e": "None"}


def test_a_no_is_told_from_an_absence():
    assert is_refusal(MlflowException("changed", error_code=1000))
    assert is_refusal(FileNotFoundError())
    assert not is_refusal(MlflowException("API request failed"))
    assert not is_refusal(ConnectionError())


def test_a_database_that_cannot_be_written_is_found_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(PermissionError):
        _ = Store(f"sqlite:///{tmp_path / 'mlflow.db'}", "digits").client
