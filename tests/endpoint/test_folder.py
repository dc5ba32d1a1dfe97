"""Folder that an endpoint serves."""

import json
import shutil

import pytest

from audio_lm.common.errors import CheckpointError, UserError
from audio_lm.endpoint.folder import KEPT, export_once, find_model


def fake_folder(folder, **config):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2_audio", **config}))
    (folder / "generation_config.json").write_text('{"max_new_tokens": 9}')
    return folder


def test_an_exported_folder_is_served_under_its_name(tmp_path):
    folder = fake_folder(tmp_path / "mine")
    model = find_model(folder)
    assert (model.name, model.path, model.max_new_tokens) == ("mine", str(folder), 9)
    assert find_model(folder, name="yours").name == "yours"


def test_a_run_is_exported_once_and_again_after_more_training(whole_run, tmp_path, monkeypatch):
    lines, run = [], tmp_path / "run"
    shutil.copytree(whole_run.path, run)
    model = find_model(run, stage="chat", report=lines.append)
    assert model.name == "run"
    assert len(lines) == 1
    assert find_model(run, report=lines.append) == model, "the last stage with weights"
    assert len(lines) == 1
    monkeypatch.setattr("audio_lm.endpoint.folder._weights_hash", lambda folder, stage: "other")
    again = export_once(run, stage="chat", trusts_code=False, report=lines.append)
    assert (again.parent, again.name) == (run / KEPT, "chat-other")
    assert len(lines) == 2


def test_every_change_of_the_weights_changes_the_folder(whole_run):
    from audio_lm.endpoint.folder import _weights_hash

    hashes = {_weights_hash(whole_run, stage) for stage in ("pretrain", "chat")}
    assert len(hashes) == 2
    assert _weights_hash(whole_run, "chat") in hashes


def test_what_cannot_be_served_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere/config\.json cannot be read"):
        find_model(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="model type is 'llama'"):
        find_model(fake_folder(tmp_path / "llama", model_type="llama"))
    with pytest.raises(UserError, match="has an '@'"):
        find_model(fake_folder(tmp_path / "a@b"))
    with pytest.raises(UserError, match="expected a run"):
        find_model(fake_folder(tmp_path / "mine"), stage="chat")
    (tmp_path / "mine" / "generation_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="is no JSON"):
        find_model(tmp_path / "mine")
