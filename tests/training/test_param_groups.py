import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.training.config import PartConfig
from audio_lm.training.param_groups import Rate, learning_rates

NAMES = [
    "encoder.conv1.weight",
    "encoder.layers.0.fc1.weight",
    "encoder.layers.1.fc1.weight",
    "encoder.layer_norm.weight",
    "projector.linear.weight",
]


def test_a_part_without_a_rate_is_frozen():
    rates = learning_rates(NAMES, {"encoder": PartConfig(lr=None), "projector": PartConfig(lr=1e-3)})
    assert rates["encoder.conv1.weight"] is None
    assert rates["projector.linear.weight"] == Rate(1e-3)


def test_lower_layers_have_lower_rates_and_the_last_norm_that_of_the_top_layer():
    rates = learning_rates(NAMES, {"encoder": PartConfig(lr=1.0, layer_decay=0.5), "projector": PartConfig()})
    assert [rates[name].lr for name in NAMES[:4]] == [0.25, 0.5, 1.0, 1.0]


def test_parts_without_parameters_and_parameters_without_a_part_are_refused():
    with pytest.raises(
        RecipeError, match=r"parts \['adapter'\] match no parameter and \['projector'\] are not mentioned"
    ):
        learning_rates(NAMES, {"encoder": PartConfig(), "adapter": PartConfig()})


def test_a_part_can_be_unfrozen_at_a_later_step():
    rates = learning_rates(NAMES, {"encoder": PartConfig(lr=1.0, from_step=7), "projector": PartConfig()})
    assert rates["encoder.conv1.weight"].from_step == 7


def test_lora_updates_of_a_part_are_a_part_of_their_own():
    names = ["a.layers.0.fc.base_layer.weight", "a.layers.0.fc.lora_A.default.weight", "b.weight"]
    parts = {"a": PartConfig(), "a_lora": PartConfig(lr=1e-3), "b": PartConfig()}
    rates = learning_rates(names, parts)
    assert [rate is not None for rate in rates.values()] == [False, True, False]
    with pytest.raises(RecipeError, match=r"\['a_lora'\] are not mentioned"):
        learning_rates(names, {"a": PartConfig(), "b": PartConfig()})


@pytest.mark.parametrize("num_layers", [1, 2, 12])
@pytest.mark.parametrize("decay", [1.0, 0.9, 0.5])
def test_the_decay_is_that_of_layer_numbers_in_the_scripts_of_electra(num_layers, decay):
    """There a layer's rate is ``decay ** (num_layers + 1 - number)``; here the top layer has the configured rate."""
    names = [
        "a.conv.weight",
        *(f"a.layers.{i}.fc.{kind}" for i in range(num_layers) for kind in ("weight", "bias")),
    ]
    names += ["a.norm.weight", "b.weight"]
    number_of = {name: int(name.split(".")[2]) + 1 for name in names if "layers" in name}
    number_of |= {"a.conv.weight": 0, "a.norm.weight": num_layers}
    rates = learning_rates(names, {"a": PartConfig(lr=3e-4, layer_decay=decay), "b": PartConfig(lr=1e-3)})
    assert rates.keys() == set(names)
    assert rates["b.weight"].lr == 1e-3
    for name, number in number_of.items():
        assert rates[name].lr == pytest.approx(3e-4 * decay ** (num_layers - number)), name
