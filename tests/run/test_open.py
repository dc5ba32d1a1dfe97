import shutil

import pytest
import torch

from audio_lm.checkpoints.discovery import valid_checkpoints
from audio_lm.common.errors import CheckpointError, UserError
from audio_lm.export.run import ExportSettings, export_run
from audio_lm.model.weights.files import read_weights
from audio_lm.model.weights.parts import load_weights, save_model
from audio_lm.pipeline.model import build_audio_lm
from audio_lm.run.folder import RunFolder
from audio_lm.run.open import load_mid_stage
from tests.model.originals import noise, our_logits
from tests.run.command import run


@pytest.fixture
def logits(small, own_vocabulary):
    """Function that loads a model and returns its logits for a clip."""

    def of(load):
        model = build_audio_lm(small, own_vocabulary)
        load(model)
        ids = [5, *[own_vocabulary.audio_id] * 25, 6, 7]
        return our_logits(model.eval(), ids, own_vocabulary.audio_id, noise(16_000))

    return of


def test_a_checkpoint_and_its_consolidated_files_give_the_logits_of_the_stages_end(
    whole_run, small, logits, tmp_path
):
    def from_checkpoint(model):
        assert load_mid_stage(model, small, whole_run, "chat", 3).step == 3
        save_model(model, tmp_path / "consolidated")

    expected = logits(lambda model: load_weights(model, whole_run.model("chat")))
    assert torch.equal(logits(from_checkpoint), expected)
    assert torch.equal(logits(lambda model: load_weights(model, tmp_path / "consolidated")), expected)
    earlier = logits(lambda model: load_mid_stage(model, small, whole_run, "pretrain", 6))
    assert not torch.equal(earlier, expected)


def test_a_checkpoint_is_exported_by_one_command(whole_run, tmp_path, capsys):
    assert run("export", whole_run.path, tmp_path / "mid", "--stage", "chat", "--step", 3) == 0
    assert "stage 'chat', step 3" in capsys.readouterr().out
    export_run(whole_run.path, tmp_path / "end", ExportSettings(stage="chat"), report=lambda line: None)
    mid, end = read_weights(tmp_path / "mid"), read_weights(tmp_path / "end")
    assert all(torch.equal(value, end[name]) for name, value in mid.items())


def test_a_missing_step_is_answered_with_the_existing_ones(whole_run, tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 2; there are \[3\]"):
        export_run(whole_run.path, tmp_path / "mid", ExportSettings(stage="chat", step=2))
    with pytest.raises(UserError, match="name it with --stage"):
        export_run(whole_run.path, tmp_path / "mid", ExportSettings(step=3))
    with pytest.raises(UserError, match="Did you mean 'chat'"):
        export_run(whole_run.path, tmp_path / "mid", ExportSettings(stage="chatt", step=3))


def test_a_checkpoint_of_other_frozen_weights_is_refused(whole_run, small, own_vocabulary, tmp_path):
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(whole_run.path, folder.path)
    shutil.rmtree(folder.model("pretrain"))
    model = build_audio_lm(small, own_vocabulary)
    with torch.no_grad():
        model.encoder.conv1.weight += 1
    save_model(model, folder.model("pretrain"))
    assert [checkpoint.step for checkpoint in valid_checkpoints(folder.checkpoints("chat"))] == [3]
    with pytest.raises(CheckpointError, match=r"frozen weights of \['encoder'"):
        load_mid_stage(model, small, folder, "chat", 3)
