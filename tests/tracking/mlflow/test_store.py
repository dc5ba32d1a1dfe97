import pytest

from audio_lm.tracking.event_log.journal import Point
from audio_lm.tracking.event_log.names import flatten_params
from audio_lm.tracking.event_log.provenance import InputCutSet
from audio_lm.tracking.facts import NOTE_TAG, TASKS_TAG
from audio_lm.tracking.mlflow.store import (
    MlflowException,
    MlflowStore,
    create_database,
    error_summary,
    is_refusal,
)
from audio_lm.tracking.mlflow.view import VIEW_TAG
from tests.tracking.mlflow.test_view import state_of


def open_run(store, journal="j"):
    return store.open_run(None, journal=journal, name="r", tags={}, time_ms=1)


def test_artifacts_are_next_to_the_database(store, client, tmp_path):
    run_id = open_run(store)
    assert client.get_run(run_id).info.artifact_uri.startswith(str(tmp_path / "mlartifacts" / "digits"))
    assert not (tmp_path / "mlruns").exists()


def test_a_known_run_is_reopened(store, client):
    run_id = open_run(store)
    store.close_run(run_id, "FAILED", 5)
    assert store.open_run(run_id, journal="j", name="r", tags={"again": "yes"}, time_ms=1) == run_id
    run = client.get_run(run_id)
    assert run.info.status == "RUNNING"
    assert run.data.tags["again"] == "yes"


def test_a_run_whose_id_was_not_saved_is_found_by_its_journal(store, client):
    first = open_run(store, journal="j1")
    assert open_run(store, journal="j1") == first
    assert open_run(store, journal="j2") != first


@pytest.mark.parametrize("lost", ["deleted", "never was"])
def test_a_deleted_or_absent_run_does_not_exist(store, client, lost):
    run_id = "0" * 32
    if lost == "deleted":
        run_id = open_run(store)
        assert store.run_exists(run_id)
        client.delete_run(run_id)
    assert not store.run_exists(run_id)


def test_a_deleted_experiment_is_replaced_by_a_numbered_one(store, client, uri):
    client.delete_experiment(store.experiment_id)
    again = MlflowStore(uri, "digits")
    assert client.get_experiment(again.experiment_id).name == "digits-2"


def test_parameters_are_logged_once(store, client):
    run_id = open_run(store)
    store.log_params(run_id, {"optimizer.lr": "0.0001"})
    store.log_params(run_id, {"optimizer.lr": "0.0002", "steps": "10"})
    assert client.get_run(run_id).data.params == {"optimizer.lr": "0.0001", "steps": "10"}


def test_many_and_long_parameters_are_accepted(store, client):
    run_id = open_run(store)
    for _ in range(2):
        store.log_params(run_id, flatten_params({f"p{number}": "x" * 7000 for number in range(120)}))
    assert len(client.get_run(run_id).data.params) == 120


def test_1500_metrics_of_one_step_are_logged(store, client):
    run_id = open_run(store)
    for _ in range(2):
        store.log_points(run_id, [Point(f"loss/{number}", 1.0, 1, 1) for number in range(1500)])
    assert len(client.get_run(run_id).data.metrics) == 1500
    assert len(client.get_metric_history(run_id, "loss/7")) == 1


def test_inputs_keep_digest_hours_and_cuts(store, client, tmp_path):
    run_id = open_run(store)
    cut_set = InputCutSet(
        name="fsdd/digits-train",
        path=tmp_path / "x.jsonl",
        digest="ab" * 20,
        hours=1.5,
        num_cuts=7,
        context="train",
    )
    store.log_inputs(run_id, [cut_set, cut_set])
    (dataset_input,) = client.get_run(run_id).inputs.dataset_inputs
    tags = {tag.key: tag.value for tag in dataset_input.tags}
    assert dataset_input.dataset.name == "fsdd/digits-train"
    assert len(dataset_input.dataset.digest) <= 36
    assert tags == {"mlflow.data.context": "train", "hours": "1.5", "num_cuts": "7"}


def test_a_refusal_is_distinguished_from_an_outage():
    assert is_refusal(MlflowException("changed", error_code=1000))
    assert is_refusal(FileNotFoundError())
    assert not is_refusal(MlflowException("API request failed"))
    assert not is_refusal(ConnectionError())


def test_a_read_only_database_is_detected_at_once(store, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(PermissionError):
        _ = store.client


def test_a_killed_creation_leaves_no_incomplete_database(tmp_path, monkeypatch):
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


def log_recipe_run(store, weight):
    run_id = store.open_run(
        None, journal=f"j{weight}", name="digits", tags={"kind": "recipe", TASKS_TAG: "{}"}, time_ms=weight
    )
    store.log_params(run_id, {"weight/pretrain/asr": str(weight)})
    store.log_points(run_id, [Point("digits_asr/wer", 0.1, 1, 0)])
    store.update_view()
    return store.client.get_experiment(store.experiment_id).tags


def test_the_view_of_an_experiment_has_what_differs_between_its_runs(store):
    columns = [state_of(log_recipe_run(store, weight)[VIEW_TAG])["selectedColumns"] for weight in (1, 2)]
    assert columns == [
        ["metrics.`digits_asr/wer`"],
        ["params.`weight/pretrain/asr`", "metrics.`digits_asr/wer`"],
    ]


def test_an_experiment_is_described_with_a_link_to_the_view_unless_somebody_has(store):
    assert "viewStateShareKey=audio_lm" in log_recipe_run(store, 1)[NOTE_TAG]
    assert "weight/pretrain/asr" in log_recipe_run(store, 2)[NOTE_TAG], "our own is updated"
    store.client.set_experiment_tag(store.experiment_id, NOTE_TAG, "mine")
    assert log_recipe_run(store, 3)[NOTE_TAG] == "mine"
