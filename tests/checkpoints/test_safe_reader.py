"""Attacks: files that would run code, or read other files, when they are loaded; none succeeds."""

import io
import os
import pickle
import shutil

import pytest
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, MetadataIndex
from torch.distributed.checkpoint.state_dict_loader import load as stock_load

from audio_lm.checkpoints.discovery import Checkpoint, find_checkpoint
from audio_lm.checkpoints.manifest import CheckpointManifest, read_manifest, write_manifest
from audio_lm.checkpoints.safe_reader import METADATA, PlainPlanner, RestrictedReader, metadata_of
from audio_lm.common.errors import CheckpointError
from audio_lm.common.seals import FILE, seal_of
from tests.checkpoints.tiny import Training, write


class Evil:
    """Object that writes a file when it is unpickled."""

    def __init__(self, path, how="system"):
        self.path, self.how = path, how

    def __reduce__(self):
        if self.how == "system":
            return os.system, (f"touch {self.path}",)
        return eval, (f"open({str(self.path)!r}, 'w').close()",)


@pytest.fixture
def checkpoint(tmp_path):
    return write(tmp_path / "checkpoints", Training().walk(1))


@pytest.fixture
def trap(tmp_path):
    return tmp_path / "ran"


def reseal(checkpoint):
    """Rewrite manifest and checksums to fit, as an attacker would."""
    old = read_manifest(checkpoint.path)
    (checkpoint.path / FILE).unlink()
    files = {path.name: seal_of(path) for path in checkpoint.path.iterdir()}
    write_manifest(checkpoint.path, CheckpointManifest(old.step, old.world_size, old.facts, files))
    return Checkpoint(checkpoint.path, read_manifest(checkpoint.path))


@pytest.mark.parametrize("how", ["system", "eval"])
def test_metadata_that_runs_code_is_refused(checkpoint, trap, how):
    (checkpoint.path / METADATA).write_bytes(pickle.dumps(Evil(trap, how)))
    with pytest.raises(CheckpointError, match="not allowed in a checkpoint"):
        Training().load(reseal(checkpoint))
    assert not trap.exists()


def test_code_inside_valid_metadata_is_refused_where_the_reader_of_torch_runs_it(checkpoint, trap):
    metadata = metadata_of(checkpoint.path)
    metadata.planner_data = {"x": Evil(trap)}
    (checkpoint.path / METADATA).write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointError, match=r"posix\.system"):
        Training().load(reseal(checkpoint))
    assert not trap.exists()
    stock_load(Training().walk(1).tensors, checkpoint_id=checkpoint.path)
    assert trap.exists()


def with_entry(checkpoint, content):
    """A checkpoint with one more entry that is not a tensor."""
    (shard,) = checkpoint.path.glob("*.distcp")
    offset = shard.stat().st_size
    with shard.open("ab") as file:
        file.write(content)
    metadata = metadata_of(checkpoint.path)
    metadata.state_dict_metadata["optimizer/encoder.0.weight/evil"] = BytesStorageMetadata()
    index = MetadataIndex("optimizer/encoder.0.weight/evil")
    metadata.storage_data[index] = _StorageInfo(shard.name, offset, len(content))
    metadata.planner_data["optimizer/encoder.0.weight/evil"] = ("optimizer/encoder.0.weight/evil",)
    (checkpoint.path / METADATA).write_bytes(pickle.dumps(metadata))
    return reseal(checkpoint)


def test_an_entry_that_runs_code_is_refused(checkpoint, trap):
    content = io.BytesIO()
    torch.save(Evil(trap), content)
    with pytest.raises(CheckpointError, match="cannot be read: UnpicklingError"):
        Training().load(with_entry(checkpoint, content.getvalue()))
    assert not trap.exists()


def test_an_entry_of_plain_values_is_read(checkpoint):
    content = io.BytesIO()
    torch.save({"count": 3}, content)
    training = Training().load(with_entry(checkpoint, content.getvalue()))
    assert training.tensors["optimizer/encoder.0.weight/evil"] == {"count": 3}


def test_a_shard_that_runs_code_is_refused(checkpoint, trap):
    (shard,) = checkpoint.path.glob("*.distcp")
    content = io.BytesIO()
    torch.save(Evil(trap), content)
    metadata = metadata_of(checkpoint.path)
    for index in metadata.storage_data:
        metadata.storage_data[index] = _StorageInfo(shard.name, 0, len(content.getvalue()))
    (checkpoint.path / METADATA).write_bytes(pickle.dumps(metadata))
    shard.write_bytes(content.getvalue())
    with pytest.raises(CheckpointError, match="cannot be read: UnpicklingError"):
        Training().load(reseal(checkpoint))
    assert not trap.exists()


@pytest.mark.parametrize("name", ["../../stolen", "/etc/passwd", "not-in-the-manifest"])
def test_tensors_are_read_from_files_of_the_checkpoint_only(checkpoint, tmp_path, name):
    (shard,) = checkpoint.path.glob("*.distcp")
    shutil.copy(shard, tmp_path / "stolen")
    metadata = metadata_of(checkpoint.path)
    for index, place in metadata.storage_data.items():
        metadata.storage_data[index] = _StorageInfo(name, place.offset, place.length)
    (checkpoint.path / METADATA).write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointError, match="no file of this checkpoint"):
        Training().load(reseal(checkpoint))


def test_a_pickled_manifest_is_not_loaded(checkpoint, trap):
    (checkpoint.path / FILE).write_bytes(pickle.dumps(Evil(trap)))
    assert find_checkpoint(checkpoint.path.parent).found is None
    assert not trap.exists()


@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"not a pickle", pickle.dumps({"a": 1}), pickle.dumps(None)]
)
def test_damaged_metadata_is_refused_with_a_message(checkpoint, content):
    (checkpoint.path / METADATA).write_bytes(content)
    with pytest.raises(CheckpointError, match="is refused"):
        metadata_of(checkpoint.path)


def test_saved_metadata_has_no_paths(checkpoint):
    raw = (checkpoint.path / METADATA).read_bytes()
    assert str(checkpoint.path.parent).encode() not in raw
    reader = RestrictedReader(checkpoint.path, metadata_of(checkpoint.path))
    target = {"model/encoder.0.bias": torch.zeros(8)}
    stock_load(target, storage_reader=reader, planner=PlainPlanner())
    assert torch.equal(target["model/encoder.0.bias"], Training().walk(1).tensors["model/encoder.0.bias"])
