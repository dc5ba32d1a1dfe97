from pathlib import Path

import pytest
import torch

from audio_lm.common.errors import CheckpointError, UserError
from audio_lm.config.load import load_recipe
from audio_lm.export.merge import HEAD, merge_weights
from audio_lm.export.run import ExportSettings, export_run
from audio_lm.model.build import build_model
from audio_lm.model.weights.files import read_weights
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.model import build_audio_lm, rates_of
from audio_lm.pipeline.vocabulary import build_vocabulary, check_tags
from tests.run.command import run


def test_a_run_is_exported_by_one_command(whole_run, small, own_vocabulary, tmp_path, capsys):
    assert run("export", whole_run.path, tmp_path / "folder") == 0
    assert "stage 'chat'" in capsys.readouterr().out
    model = build_model(small.model, num_base=own_vocabulary.num_base, num_new=len(own_vocabulary.new_tokens))
    load_weights(model, whole_run.model("chat"))
    rows = read_weights(tmp_path / "folder")["language_model.lm_head.weight"]
    assert torch.equal(rows, merge_weights(model)[HEAD])
    export_run(
        whole_run.path, tmp_path / "earlier", ExportSettings(stage="pretrain"), report=lambda line: None
    )
    assert not torch.equal(read_weights(tmp_path / "earlier")["language_model.lm_head.weight"], rows)


def test_an_unknown_stage_or_precision_is_answered_with_the_nearest(whole_run, tmp_path):
    with pytest.raises(CheckpointError, match="Did you mean 'pretrain'"):
        export_run(whole_run.path, tmp_path / "folder", ExportSettings(stage="pretrian"))
    with pytest.raises(UserError, match="Did you mean 'float32'"):
        export_run(whole_run.path, tmp_path / "folder", ExportSettings(dtype="float23"))
    with pytest.raises(UserError, match="cannot be written"):
        export_run(whole_run.path, Path("/proc/nobody/may"))


def test_a_recipe_starts_from_an_exported_folder(whole_run, small_recipe, tmp_path):
    folder = tmp_path / "folder"
    export_run(whole_run.path, folder, report=lambda line: None)
    recipe = load_recipe(small_recipe, [f"model.load={folder}"]).recipe
    vocabulary = build_vocabulary(recipe, {})
    assert vocabulary.new_tokens == ()
    check_tags(recipe, vocabulary)
    model = build_audio_lm(recipe, vocabulary)
    kept = read_weights(folder)
    assert torch.equal(model.encoder.conv1.weight, kept["audio_tower.conv1.weight"])
    assert torch.equal(merge_weights(model)[HEAD], kept["language_model.lm_head.weight"])
    assert set(rates_of(recipe, model)) == {"pretrain", "chat"}
