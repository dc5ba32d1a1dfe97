import pytest

from audio_lm.tracking.event_log.journal import Point
from audio_lm.tracking.event_log.names import flattened
from audio_lm.tracking.event_log.provenance import Manifest
from audio_lm.tracking.mlflow.store import MlflowException, Store, create_database, error_summary, is_refusal


def open_run(store, journal="j"):
    return store.open_run(None, journal=journal, name="r", tags={}, time_ms=1)


def test_artifacts_lie_beside_the_database(store, client, tmp_path):
    run_id = open_run(store)
    assert client.get_run(run_id).info.artifact_uri.startswith(str(tmp_path / "mlartifacts" / "digits"))
    assert not (tmp_path / "mlruns").exists()


def test_a_known_run_is_running_again(store, client):
    run_id = open_run(store)
    store.close_run(run_id, "FAILED", 5)
    assert store.open_run(run_id, journal="j", name="r", tags={"again": "yes"}, time_ms=1) == run_id
    run = client.get_run(run_id)
    assert run.info.status == "RUNNING"
    assert run.data.tags["again"] == "yes"


def test_a_run_that_was_made_and_never_noted_is_found_by_its_journal(store, client):
    first = open_run(store, journal="j1")
    assert open_run(store, journal="j1") == first
    assert open_run(store, journal="j2") != first


@pytest.mark.parametrize("lost", ["deleted", "never was"])
def test_a_run_that_is_gone_is_known_to_be(store, client, lost):
    run_id = "0" * 32
    if lost == "deleted":
        run_id = open_run(store)
        assert store.is_there(run_id)
        client.delete_run(run_id)
    assert not store.is_there(run_id)


def test_a_deleted_experiment_does_not_stand_in_the_way(store, client, uri):
    client.delete_experiment(store.experiment_id)
    again = Store(uri, "digits")
    assert client.get_experiment(again.experiment_id).name == "digits-2"


def test_parameters_are_recorded_once(store, client):
    run_id = open_run(store)
    store.log_params(run_id, {"optimizer.lr": "0.0001"})
    store.log_params(run_id, {"optimizer.lr": "0.0002", "steps": "10"})
    assert client.get_run(run_id).data.params == {"optimizer.lr": "0.0001", "steps": "10"}


def test_many_and_long_parameters_fit(store, client):
    run_id = open_run(store)
    for _ in range(2):
        store.log_params(run_id, flattened({f"p{number}": "x" * 7000 for number in range(120)}))
    assert len(client.get_run(run_id).data.params) == 120


def test_1500_metrics_of_one_step_arrive(store, client):
    run_id = open_run(store)
    for _ in range(2):
        store.log_points(run_id, [Point(f"loss/{number}", 1.0, 1, 1) for number in range(1500)])
    assert len(client.get_run(run_id).data.metrics) == 1500
    assert len(client.get_metric_history(run_id, "loss/7")) == 1


def test_inputs_keep_digest_hours_and_cuts(store, client, tmp_path):
    run_id = open_run(store)
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


def test_a_no_is_told_from_an_absence():
    assert is_refusal(MlflowException("changed", error_code=1000))
    assert is_refusal(FileNotFoundError())
    assert not is_refusal(MlflowException("API request failed"))
    assert not is_refusal(ConnectionError())


def test_a_database_that_cannot_be_written_is_found_at_once(store, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(PermissionError):
        _ = store.client


def test_a_killed_beginning_leaves_no_half_made_database(tmp_path, monkeypatch):
    def killed(self, uri):
        (tmp_path / "seen").write_text(uri)
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(
            "audio_lm.tracking.mlflow.store.MlflowClient",
            killed_client := type("K", (), {"__init__": killed}),
        )
        with pytest.raises(SystemExit):
            create_database(tmp_path / "mlflow.db")
    assert killed_client
    assert not (tmp_path / "mlflow.db").exists()
    assert (tmp_path / "seen").read_text() != f"sqlite:///{tmp_path}/mlflow.db"


def test_a_password_does_not_reach_a_log():
    assert error_summary(OSError("to http://me:secret@host")) == "OSError: to http://host"
