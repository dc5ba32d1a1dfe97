from pathlib import Path

import pytest
import yaml

from audio_lm.common.errors import RecipeError
from audio_lm.training import config
from audio_lm.training.config import HardwareConfig, OptimizerConfig

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sharding": "fsdp"}, "there is one rank"),
        ({"sharding": "hsdp", "devices": 4}, "hardware.nodes is 1; set it to fsdp"),
        ({"frozen": "sharded"}, "hardware.frozen has no effect with sharding: none"),
        ({"tensor_parallel": 2, "devices": 2}, "hardware.tensor_parallel has no effect"),
        ({"sharding": "fsdp", "devices": 4, "tensor_parallel": 3}, "choose a divisor of 4"),
        ({"sharding": "fsdp", "devices": 4, "tensor_parallel": 0}, "choose a divisor of 4"),
        ({"sharding": "fsdp", "devices": 2, "cpu_offload": True}, "saves GPU memory"),
        ({"activation_checkpointing": ["encodr"]}, "Did you mean 'encoder'"),
    ],
)
def test_settings_that_contradict_each_other_or_have_no_effect_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        HardwareConfig(**settings)


def test_a_matrix_factor_with_adamw_is_refused():
    with pytest.raises(RecipeError, match=r"matrix_factor is 3 and optimizer\.kind is adamw"):
        OptimizerConfig(kind="adamw", matrix_factor=3.0)
    OptimizerConfig(kind="muon", matrix_factor=3.0)
    OptimizerConfig(kind="adamw", matrix_factor=1.0)


def test_tensor_parallel_ranks_train_on_the_same_packs_and_hsdp_shards_inside_a_node():
    hardware = HardwareConfig(sharding="hsdp", devices=8, nodes=4, tensor_parallel=2)
    assert (hardware.num_data_parallel_ranks, hardware.num_shards) == (16, 8)
    assert HardwareConfig(sharding="fsdp", devices=8, nodes=4).num_shards == 32
    assert HardwareConfig(devices=8).num_shards == 1


@pytest.mark.parametrize(
    "path", sorted((ROOT / "conf" / "hardware").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_hardware_file_of_conf_is_valid(path):
    assert HardwareConfig(**yaml.safe_load(path.read_text())).num_data_parallel_ranks >= 1


@pytest.mark.parametrize(
    ("precision", "accelerator", "cpu_can", "expected"),
    [
        ("32", "gpu", True, False),
        ("bf16", "cpu", False, True),
        ("auto", "cpu", False, False),
        ("auto", "cpu", True, True),
        ("auto", "gpu", False, True),
    ],
)
def test_auto_is_bf16_where_the_device_multiplies_in_it(
    monkeypatch, precision, accelerator, cpu_can, expected
):
    monkeypatch.setattr(config, "has_bf16_instructions", lambda: cpu_can)
    assert HardwareConfig(accelerator=accelerator, precision=precision).is_half is expected
