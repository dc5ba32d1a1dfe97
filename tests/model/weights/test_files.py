import json

import pytest
import torch
from safetensors.torch import save_file

from audio_lm.common.errors import CheckpointError
from audio_lm.model.weights.files import (
    INDEX,
    gather_and_write,
    published_folder,
    read_file,
    read_weights,
    write_weights,
)

WEIGHTS = {f"layers.{number}.weight": torch.full((8, 8), float(number)) for number in range(6)}
ONE_TENSOR = 8 * 8 * 4


@pytest.mark.parametrize(("max_bytes", "num_files"), [(10_000, 1), (2 * ONE_TENSOR, 3), (1, 6)])
def test_written_weights_are_read_back(tmp_path, max_bytes, num_files):
    assert len(write_weights(WEIGHTS, tmp_path, max_bytes=max_bytes)) == num_files
    assert (tmp_path / INDEX).is_file() == (num_files > 1)
    weights = read_weights(tmp_path)
    assert weights.keys() == WEIGHTS.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in WEIGHTS.items())


def test_the_same_weights_in_another_format_are_not_read_twice(tmp_path):
    write_weights(WEIGHTS, tmp_path, max_bytes=10_000)
    save_file({"extra": torch.zeros(1)}, tmp_path / "model.fp32-00001-of-00001.safetensors")
    assert read_weights(tmp_path).keys() == WEIGHTS.keys()


def test_the_error_names_a_missing_shard(tmp_path):
    first, *_ = write_weights(WEIGHTS, tmp_path, max_bytes=2 * ONE_TENSOR)
    first.unlink()
    with pytest.raises(CheckpointError, match=f"of 3 weight files {first.name} is missing"):
        read_weights(tmp_path)


def test_the_error_names_a_tensor_that_is_only_in_the_index(tmp_path):
    write_weights(WEIGHTS, tmp_path, max_bytes=2 * ONE_TENSOR)
    index = json.loads((tmp_path / INDEX).read_text())
    index["weight_map"]["lost.weight"] = index["weight_map"]["layers.0.weight"]
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"lost.weight is missing"):
        read_weights(tmp_path)
    (tmp_path / INDEX).write_text("[]")
    with pytest.raises(CheckpointError, match="no index of shards"):
        read_weights(tmp_path)


def test_a_truncated_file_is_refused(tmp_path):
    (file,) = write_weights(WEIGHTS, tmp_path, max_bytes=10_000)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="no complete safetensors file"):
        read_weights(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        read_file(tmp_path / "nothing.safetensors")


def test_pickles_are_refused_with_a_remedy(tmp_path):
    torch.save({"model_state_dict": WEIGHTS}, tmp_path / "tiny.pt")
    with pytest.raises(CheckpointError, match="weights_only=True"):
        read_weights(tmp_path)
    with pytest.raises(CheckpointError, match="weights_only=True"):
        published_folder(str(tmp_path / "tiny.pt"), what="encoder")


def test_an_empty_folder_and_an_unknown_name_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="has no safetensors files"):
        read_weights(tmp_path)
    with pytest.raises(CheckpointError, match="encoder '/no/such/one' is no folder"):
        published_folder("/no/such/one", what="encoder")


def test_a_file_written_tensor_by_tensor_equals_that_of_safetensors(tmp_path):
    weights = {
        "b.weight": torch.randn(3, 4),
        "a": torch.randn(5).to(torch.bfloat16),
        "c": torch.arange(3),
        "empty": torch.zeros(0, 2),
        "scalar": torch.tensor(1.5),
        "transposed": torch.randn(4, 3).T,
    }
    gather_and_write(weights, tmp_path / "ours.safetensors")
    save_file(
        {name: tensor.contiguous() for name, tensor in weights.items()}, tmp_path / "theirs.safetensors"
    )
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()
    read = read_file(tmp_path / "ours.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in weights.items())
