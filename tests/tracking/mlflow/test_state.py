from audio_lm.tracking.mlflow.state import (
    RunSyncState,
    SyncState,
    num_unsent_bytes,
    read_sync_state,
    run_id_of,
)


def kept(folder, uri="http://me:secret@host"):
    delivered = SyncState(uri.replace("me:secret@", ""), "j", runs={"recipe": RunSyncState("j", "a1", 5)})
    delivered.write(folder)
    delivered.write_run_ids(folder)
    return delivered


def test_what_was_sent_is_known_again_for_this_store_only(tmp_path):
    delivered = kept(tmp_path)
    assert read_sync_state(tmp_path, "http://me:other@host") == delivered
    assert read_sync_state(tmp_path, "http://elsewhere") == SyncState("http://elsewhere")


def test_a_damaged_note_means_sending_everything_again(tmp_path):
    (tmp_path / "tracking.sent").write_text('{"uri": "http://host", "ru')
    assert read_sync_state(tmp_path, "http://host") == SyncState("http://host")


def test_a_run_belongs_to_its_journal(tmp_path):
    kept(tmp_path)
    assert run_id_of(tmp_path, "recipe", "j") == "a1"
    assert run_id_of(tmp_path, "recipe", "another") is None
    assert run_id_of(tmp_path / "nowhere", "recipe", "j") is None


def test_run_ids_are_there_for_other_programs(tmp_path):
    kept(tmp_path)
    assert (tmp_path / "mlflow.txt").read_text() == "tracking_uri: http://host\nrecipe: a1\n"


def test_what_is_left_is_counted_in_bytes(tmp_path):
    delivered = kept(tmp_path)
    (tmp_path / "metrics.jsonl").write_bytes(bytes(12))
    (tmp_path / "tracking.jsonl").write_bytes(bytes(3))
    assert num_unsent_bytes(tmp_path, delivered) == 7 + 3


def test_a_full_disk_costs_nothing_but_time(tmp_path, monkeypatch, warned):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    kept(tmp_path)
    assert "tracking.sent" in warned()[0]
