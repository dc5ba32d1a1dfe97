from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from audio_lm.export.run import ExportSettings, export_run
from audio_lm.notebook.hugging_face import compare_with_transformers, weight_change_picture, weight_changes
from audio_lm.notebook.run_view import RunView


@pytest.fixture(scope="module")
def folders(whole_run, tmp_path_factory):
    """Exports of two stages of a run, of which the second one has a frozen encoder."""
    folder = tmp_path_factory.mktemp("exports")
    for stage in ("pretrain", "chat"):
        export_run(whole_run.path, folder / stage, ExportSettings(stage=stage), report=lambda line: None)
    return folder


def test_both_programs_give_the_same_logits_of_every_token(whole_run, folders):
    compared = compare_with_transformers(folders / "chat", RunView(whole_run.path).clip("sec"))
    assert compared.largest_difference < 1e-4
    assert compared.ours.shape[1] == len(compared.tokens)
    assert np.ptp(compared.ours) > 1e-3
    assert compared.picture()._repr_png_().startswith(b"\x89PNG")


def test_a_changed_weight_is_seen_in_the_logits(whole_run, folders, tmp_path):
    changed = tmp_path / "changed"
    changed.mkdir()
    for file in (folders / "chat").iterdir():
        (changed / file.name).write_bytes(file.read_bytes())
    clip = RunView(whole_run.path).clip("sec")
    before = compare_with_transformers(changed, clip)
    weights = load_file(changed / "model.safetensors")
    weights["multi_modal_projector.linear.bias"] += 1
    save_file(weights, changed / "model.safetensors", metadata={"format": "pt"})
    after = compare_with_transformers(changed, clip)
    assert np.abs(before.theirs - after.theirs).max() > 1e-3


def test_only_the_parts_that_were_trained_have_changed(folders):
    changes = weight_changes(folders / "pretrain", folders / "chat")
    assert [*changes][:2] == ["encoder, other weights", "encoder, layer 0"]
    frozen = [change for name, change in changes.items() if name.startswith(("encoder", "projector"))]
    assert frozen == [0.0] * len(frozen)
    assert changes["language model, layer 0"] > 0
    assert weight_change_picture(folders / "pretrain", folders / "chat")._repr_png_().startswith(b"\x89PNG")


def test_a_change_is_relative_to_the_weights(tmp_path):
    for name, factor in (("old", 1.0), ("new", 1.1)):
        Path(tmp_path / name).mkdir()
        weight = factor * torch.ones(3, 4)
        save_file({"multi_modal_projector.linear.weight": weight}, tmp_path / name / "model.safetensors")
    assert weight_changes(tmp_path / "old", tmp_path / "new")["projector"] == pytest.approx(10, rel=1e-5)
