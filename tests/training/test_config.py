from pathlib import Path

import pytest
import yaml

from audio_lm.common.errors import RecipeError
from audio_lm.training import config
from audio_lm.training.config import HardwareConfig, OptimizerConfig

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sharding": "fsdp"}, "there is one rank"),
        ({"sharding": "hsdp", "devices": 4}, "hardware.nodes is 1; set it to fsdp"),
        ({"frozen": "sharded"}, "hardware.frozen does nothing with sharding: none"),
        ({"tensor_parallel": 2, "devices": 2}, "hardware.tensor_parallel does nothing"),
        ({"sharding": "fsdp", "devices": 4, "tensor_parallel": 3}, "which it has to divide"),
        ({"sharding": "fsdp", "devices": 4, "tensor_parallel": 0}, "which it has to divide"),
        ({"sharding": "fsdp", "devices": 2, "cpu_offload": True}, "spares the memory of GPUs"),
        ({"activation_checkpointing": ["encodr"]}, "Did you mean 'encoder'"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_in_a_sentence(settings, said):
    with pytest.raises(RecipeError, match=said):
        HardwareConfig(**settings)


def test_a_factor_that_adamw_would_not_read_is_refused():
    with pytest.raises(RecipeError, match=r"matrix_factor is 3 and optimizer\.kind is adamw"):
        OptimizerConfig(kind="adamw", matrix_factor=3.0)
    OptimizerConfig(kind="muon", matrix_factor=3.0)
    OptimizerConfig(kind="adamw", matrix_factor=1.0)


def test_tensor_parallel_ranks_hear_the_same_and_nodes_of_a_hybrid_hold_copies():
    machine = HardwareConfig(sharding="hsdp", devices=8, nodes=4, tensor_parallel=2)
    assert (machine.num_data_parallel_ranks, machine.num_shards) == (16, 8)
    assert HardwareConfig(sharding="fsdp", devices=8, nodes=4).num_shards == 32
    assert HardwareConfig(devices=8).num_shards == 1


@pytest.mark.parametrize(
    "path", sorted((ROOT / "conf" / "hardware").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_machine_in_conf_is_one(path):
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
def test_auto_is_16_bits_where_they_are_faster(monkeypatch, precision, accelerator, cpu_can, expected):
    monkeypatch.setattr(config, "multiplies_in_bf16", lambda: cpu_can)
    assert HardwareConfig(accelerator=accelerator, precision=precision).is_half is expected
