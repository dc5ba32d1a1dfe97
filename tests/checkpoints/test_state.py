import os
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from audio_lm.checkpoints import state
from audio_lm.checkpoints.discovery import find_checkpoint, newest_valid
from audio_lm.checkpoints.process_group import Group
from audio_lm.checkpoints.writer import CheckpointWriter
from audio_lm.common.errors import CheckpointError
from audio_lm.common.seals import FILE, seals_of
from audio_lm.model.weights.part_names import part_of
from audio_lm.training.config import OptimizerConfig
from audio_lm.training.optimizers import build_optimizer
from audio_lm.training.param_groups import Rate
from tests.checkpoints.tiny import LEARNING, Tiny, Training, assert_equal, write
from tests.forked import on_ranks, together


def test_trained_weights_buffers_and_moments_are_saved():
    training = Training().walk(1)
    names = set(training.tensors)
    assert {name for name in names if name.startswith("model/")} == {f"model/{name}" for name in LEARNING} | {
        "model/seen"
    }
    assert {name.rpartition("/")[2] for name in names if name.startswith("optimizer/")} == {
        "step",
        "exp_avg",
        "exp_avg_sq",
    }
    assert not [name for name in names if "language_model" in name]


def test_training_resumes_bit_for_bit_only_with_optimizer_state(tmp_path):
    found = write(tmp_path, Training().walk(3))
    uninterrupted = Training().walk(6).tensors
    assert_equal(Training().load(found).walk(6).tensors, uninterrupted)
    weights_only = Training()
    state.load(found, weights_only.model, LEARNING)
    weights_only.step = 3
    assert not torch.equal(
        weights_only.walk(6).tensors["model/encoder.0.weight"], uninterrupted["model/encoder.0.weight"]
    )


def test_muon_with_adamw_resumes_before_and_after_a_part_is_unfrozen(tmp_path):
    """Unfrozen at step 2; before it a checkpoint has only the weights of the part."""
    names = [*LEARNING, "language_model.weight", "language_model.bias"]
    rates = {name: Rate(1e-2, 2 if part_of(name) == "language_model" else 0) for name in names}

    def new():
        training = Training(Tiny())
        training.optimizer = build_optimizer(training.model, rates, OptimizerConfig(kind="muon"))
        for group in training.optimizer.param_groups:
            group["lr"] = group["peak_lr"]
        return training

    def train(training, to):
        while training.step < to:
            training.model.language_model.requires_grad_(training.step >= 2)
            training.walk(training.step + 1)
        return training

    def tensors(training):
        return state.weights(training.model, names) | state.optimizer_values(
            training.model, training.optimizer
        )

    uninterrupted = tensors(train(new(), 5))
    assert "optimizer/encoder.0.weight/momentum_buffer" in uninterrupted
    for at in (1, 2, 3):
        training = train(new(), at)
        assert ("optimizer/language_model.bias/exp_avg" in tensors(training)) == (at == 3)
        found = CheckpointWriter(tmp_path, Group()).write(tensors(training), step=at, facts={}, progress={})
        resumed = new()
        state.load(found, resumed.model, names, resumed.optimizer)
        resumed.step = at
        assert_equal(tensors(train(resumed, 5)), uninterrupted)


def test_wrappers_around_modules_do_not_change_names():
    assert state.unwrapped_name("model._orig_mod.a._checkpoint_wrapped_module.b") == "model.a.b"
    model = Tiny()
    model.encoder = torch.compile(model.encoder, backend="eager")
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert set(state.weights(model, names)) == {f"model/{name}" for name in (*LEARNING, "seen")}


@pytest.mark.parametrize(
    ("learning", "words"),
    [
        (LEARNING[:2], r"encoder\.2\.weight is not trained now"),
        ((*LEARNING, "language_model.bias"), r"language_model\.bias is not in it"),
        (("language_model.bias", "language_model.weight"), "is not in it; .*is not trained now"),
    ],
)
def test_another_set_of_trained_parameters_is_refused_by_name(tmp_path, learning, words):
    found = write(tmp_path, Training().walk(1))
    training = Training()
    before = training.copied
    with pytest.raises(CheckpointError, match=f"refused because other parameters are trained: .*{words}"):
        state.load(found, training.model, learning, training.optimizer)
    assert_equal(training.tensors, before)


def test_another_shape_is_refused(tmp_path):
    found = write(tmp_path, Training().walk(1))
    with pytest.raises(CheckpointError, match=r"encoder\.0\.weight has shape \(8, 8\) and not \(9, 9\)"):
        state.load(found, Tiny(9), LEARNING)


def test_digests_detect_changed_frozen_weights_and_another_trained_set():
    model = Tiny()
    before = state.frozen_digests(model, LEARNING)
    assert set(before) == {"language_model"}
    Training(model).walk(2)
    assert state.frozen_digests(model, LEARNING) == before
    with torch.no_grad():
        model.language_model.bias[3] += 1e-7
    assert state.frozen_digests(model, LEARNING) != before
    assert state.trainable_digest(model, LEARNING) != state.trainable_digest(model, LEARNING[:3])


def sharded():
    """A training whose trained part is sharded over all ranks."""
    world = int(os.environ["WORLD_SIZE"])
    mesh = init_device_mesh("cpu", (world,))
    model = Tiny()
    for layer in model.encoder:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    fully_shard(model.encoder, mesh=mesh)
    return Training(model)


def full_arrays(tensors):
    return {
        name: (value.full_tensor() if isinstance(value, DTensor) else value).clone().numpy()
        for name, value in tensors.items()
    }


@pytest.mark.slow
def test_a_sharded_model_is_saved_in_shards_and_loaded_on_any_number_of_ranks(tmp_path):
    def resume(number):
        group, training = Group(), sharded()
        found = find_checkpoint(tmp_path, group).found
        if found is not None:
            training.load(found, group)
        loaded = full_arrays(training.tensors)
        frozen = state.frozen_digests(training.model, LEARNING)
        saved = write(tmp_path, training.walk(training.step + 3), writer=CheckpointWriter(tmp_path, group))
        names = sorted(name for name in saved.manifest.files if name.endswith(".distcp"))
        return loaded, full_arrays(training.tensors), frozen, names

    before, step = None, 0
    for count in (2, 1, 4, 2):
        answers = on_ranks(count, together(resume))
        loaded, now, frozen, names = answers[0]
        if before is not None:
            for name, value in before.items():
                assert (value == loaded[name]).all(), name  # the same bits on any number of ranks
        assert frozen == state.frozen_digests(Tiny(), LEARNING)
        assert names == [f"__{number}_0.distcp" for number in range(count)]
        before, step = now, step + 3
        assert newest_valid(tmp_path).step == step
    expected = Training().walk(step).tensors
    for name, value in before.items():
        assert abs(value - expected[name].numpy()).max() < 1e-6, name
    assert_equal_close(Training().load(newest_valid(tmp_path)).tensors, expected)


def assert_equal_close(one, other):
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-6, atol=1e-7, msg=name)


def test_damaged_content_with_correct_checksums_is_detected(tmp_path):
    found = write(tmp_path, Training().walk(1), stage="chat")
    wanted = {"facts": ("stage",), "progress": ("cursor",)}
    assert state.content_fault(found.path, found.manifest, **wanted) is None
    assert state.content_fault(found.path, found.manifest, facts=("environment",), progress=()) is not None
    for path in sorted(found.path.iterdir()):
        raw = path.read_bytes()
        for nonsense in (b"", b"\0" * len(raw), b"404 not found"):
            path.write_bytes(nonsense)
            manifest = replace(found.manifest, files=seals_of(found.path))
            if path.name != FILE:
                assert path.name in state.content_fault(found.path, manifest, **wanted), nonsense
        path.write_bytes(raw)
