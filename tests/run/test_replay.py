import math

import pytest
import torch
from torch.nn import functional

from audio_lm.common.errors import DataError
from audio_lm.config.load import load_recipe
from audio_lm.run.replay import keep_packs, read_packs, replay, run_packs
from audio_lm.run.train import train
from tests.training.tiny import PACKS, tiny


def test_saved_packs_are_read_back_unchanged(tmp_path):
    path = keep_packs(tiny("all"), tmp_path, "pretrain", 7, PACKS)
    stage, step, packs = read_packs(path)
    assert (stage, step, len(packs)) == ("pretrain", 7, len(PACKS))
    for saved, read in zip(PACKS, packs, strict=True):
        for name in saved.__slots__:
            before, after = getattr(saved, name), getattr(read, name)
            assert torch.equal(before, after) if isinstance(before, torch.Tensor) else before == after, name
    assert (tmp_path / "replay" / "step-7-weights" / "encoder.safetensors").is_file()


def test_a_finite_step_has_the_loss_and_gradients_of_training_and_no_finding():
    model, twin = tiny("all"), tiny("all")
    result = run_packs(model, PACKS)
    num_learned = sum(pack.num_learned for pack in PACKS)
    losses = [functional.cross_entropy(twin(pack), pack.labels, reduction="sum") for pack in PACKS]
    loss = sum(losses) / num_learned
    loss.backward()
    assert result.first_nonfinite is None
    assert result.loss == pytest.approx(float(loss), rel=1e-6)
    norm = math.sqrt(sum(float(weight.grad.square().sum()) for weight in twin.projector.parameters()))
    assert result.norms["projector"] == pytest.approx(norm, rel=1e-5)


def test_the_first_module_with_a_nonfinite_output_is_named():
    model = tiny("all")
    with torch.no_grad():
        model.language_model.model.layers[1].mlp.up_proj.weight[0, 0] = float("inf")
    assert (
        run_packs(model, PACKS[:1]).first_nonfinite == "output of language_model.model.layers.1.mlp.up_proj"
    )


def test_a_nonfinite_gradient_of_a_finite_loss_is_named():
    model = tiny("all")
    model.projector.register_forward_hook(
        lambda module, inputs, output: output + 0 * (inputs[0].sum() - inputs[0].sum().detach()).abs().sqrt()
    )
    result = run_packs(model, PACKS[:1])
    assert math.isfinite(result.loss)
    assert result.first_nonfinite.startswith("gradient of encoder.")


@pytest.mark.slow
def test_a_run_with_nonfinite_gradients_stops_and_its_packs_can_be_replayed(
    small, small_recipe, tmp_path, console
):
    overrides = ["stages.pretrain.parts.encoder.lr=1e30", "evaluation.baselines=[]", "only=[pretrain]"]
    composed = load_recipe(small_recipe, overrides)
    with pytest.raises(DataError, match=r"not finite 3 steps in a row.*audio-lm replay .*step-3-rank-0"):
        train(composed, out=tmp_path / "run", console=console)
    (path,) = (tmp_path / "run" / "stages" / "pretrain" / "replay").glob("*.safetensors")
    result = replay(path, console)
    assert not math.isfinite(result.loss)
    assert result.first_nonfinite.startswith("output of encoder")
    assert "first not finite: output of encoder" in console.export_text()


def test_a_file_without_packs_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="holds no packs of a step"):
        read_packs(tmp_path / "x.safetensors")
