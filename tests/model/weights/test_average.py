import pytest
import torch
from safetensors.torch import load_file, save_file

from audio_lm.common.errors import CheckpointError
from audio_lm.model.weights.average import load_average
from audio_lm.model.weights.parts import load_weights, save_model


@pytest.fixture
def folders(make_model, tmp_path):
    """Folders of three models whose weights differ."""
    found = []
    for number in range(3):
        model = make_model()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(number)
        save_model(model, tmp_path / str(number))
        found.append(tmp_path / str(number))
    return found


def test_a_model_alone_is_itself_bit_for_bit(make_model, folders):
    averaged, alone = make_model(), make_model()
    load_average(averaged, folders, [0, 0, 1])
    load_weights(alone, folders[2])
    for name, tensor in averaged.state_dict().items():
        assert torch.equal(tensor, alone.state_dict()[name]), name


def test_weights_are_averaged_by_shares(make_model, folders):
    first, averaged = make_model(), make_model()
    load_weights(first, folders[0])
    load_average(averaged, folders, [0.25, 0.25, 0.5])
    for name, parameter in averaged.named_parameters():
        torch.testing.assert_close(parameter, first.get_parameter(name) + 1.25)


def test_models_of_another_size_are_refused_and_nothing_is_loaded(make_model, folders):
    path = folders[1] / "projector.safetensors"
    save_file({name: weight[:1].clone() for name, weight in load_file(path).items()}, path)
    model, before = make_model(), make_model().state_dict()
    with pytest.raises(CheckpointError, match=r"linear\.weight has shape"):
        load_average(model, folders, [0.5, 0.25, 0.25])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
