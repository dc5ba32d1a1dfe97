import pytest
import torch
from safetensors.torch import load_file, save_file

from audio_lm.common.errors import CheckpointError
from audio_lm.model.weights.parts import load_weights, save_model


def with_changed_weights(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    return model


def test_saving_and_loading_is_the_identity(make_model, tmp_path):
    model = with_changed_weights(make_model())
    save_model(model, tmp_path)
    other = make_model()
    load_weights(other, tmp_path)
    for (name, one), (_, two) in zip(model.state_dict().items(), other.state_dict().items(), strict=True):
        assert torch.equal(one, two), name


def test_one_part_can_be_loaded_alone(make_model, tmp_path):
    save_model(with_changed_weights(make_model()), tmp_path)
    model = make_model()
    before = model.projector.linear.weight.clone()
    load_weights(model, tmp_path, ["encoder"])
    assert torch.equal(model.projector.linear.weight, before)


def test_misfits_are_listed_and_nothing_is_loaded(make_model, tmp_path):
    save_model(with_changed_weights(make_model()), tmp_path)
    path = tmp_path / "projector.safetensors"
    weights = load_file(path)
    weights["linear.weight"] = weights["linear.weight"][:3]
    weights["extra"] = weights.pop("linear.bias")
    save_file(weights, path)
    model = make_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, tmp_path)
    for words in ("linear.bias is missing", "extra is extra", "linear.weight has shape (3, 32)"):
        assert words in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_missing_or_damaged_file_is_refused(make_model, tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_weights(make_model(), tmp_path)
    save_model(make_model(), tmp_path)
    (tmp_path / "encoder.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="no complete safetensors file"):
        load_weights(make_model(), tmp_path)
