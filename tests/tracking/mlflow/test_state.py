from audio_lm.tracking.mlflow.state import (
    RunSyncState,
    SyncState,
    num_unsent_bytes,
    read_sync_state,
    run_id_of,
)


def saved_state(folder, uri="http://me:secret@host"):
    state = SyncState(uri.replace("me:secret@", ""), "j", runs={"recipe": RunSyncState("j", "a1", 5)})
    state.write(folder)
    state.write_run_ids(folder)
    return state


def test_the_state_is_read_only_for_the_same_store(tmp_path):
    state = saved_state(tmp_path)
    assert read_sync_state(tmp_path, "http://me:other@host") == state
    assert read_sync_state(tmp_path, "http://elsewhere") == SyncState("http://elsewhere")


def test_a_damaged_state_counts_as_empty(tmp_path):
    (tmp_path / "tracking.sent").write_text('{"uri": "http://host", "ru')
    assert read_sync_state(tmp_path, "http://host") == SyncState("http://host")


def test_a_run_id_is_only_valid_for_its_journal(tmp_path):
    saved_state(tmp_path)
    assert run_id_of(tmp_path, "recipe", "j") == "a1"
    assert run_id_of(tmp_path, "recipe", "another") is None
    assert run_id_of(tmp_path / "nowhere", "recipe", "j") is None


def test_run_ids_are_written_for_other_programs(tmp_path):
    saved_state(tmp_path)
    assert (tmp_path / "mlflow.txt").read_text() == "tracking_uri: http://host\nrecipe: a1\n"


def test_unsent_data_is_counted_in_bytes(tmp_path):
    state = saved_state(tmp_path)
    (tmp_path / "metrics.jsonl").write_bytes(bytes(12))
    (tmp_path / "tracking.jsonl").write_bytes(bytes(3))
    assert num_unsent_bytes(tmp_path, state) == 7 + 3


def test_a_state_that_cannot_be_saved_is_only_a_warning(tmp_path, monkeypatch, warnings_logged):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    saved_state(tmp_path)
    assert "tracking.sent" in warnings_logged()[0]
