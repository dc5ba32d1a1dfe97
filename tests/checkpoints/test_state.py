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


def test_only_what_learns_is_saved_with_buffers_and_moments():
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


def test_a_saved_training_goes_on_bit_for_bit_and_a_forgetful_one_does_not(tmp_path):
    found = write(tmp_path, Training().walk(3))
    whole = Training().walk(6).tensors
    assert_equal(Training().load(found).walk(6).tensors, whole)
    forgetful = Training()
    state.load(found, forgetful.model, LEARNING)
    forgetful.step = 3
    assert not torch.equal(
        forgetful.walk(6).tensors["model/encoder.0.weight"], whole["model/encoder.0.weight"]
    )


def test_muon_with_adamw_and_a_part_that_thaws_go_on(tmp_path):
    """Thawed at step 2: before it there is nothing of the part but its weights."""
    names = [*LEARNING, "language_model.weight", "language_model.bias"]
    rates = {name: Rate(1e-2, 2 if part_of(name) == "language_model" else 0) for name in names}

    def made():
        training = Training(Tiny())
        training.optimizer = build_optimizer(training.model, rates, OptimizerConfig(kind="muon"))
        for group in training.optimizer.param_groups:
            group["lr"] = group["peak_lr"]
        return training

    def walked(training, to):
        while training.step < to:
            training.model.language_model.requires_grad_(training.step >= 2)
            training.walk(training.step + 1)
        return training

    def tensors(training):
        return state.weights(training.model, names) | state.optimizer_values(
            training.model, training.optimizer
        )

    whole = tensors(walked(made(), 5))
    assert "optimizer/encoder.0.weight/momentum_buffer" in whole
    for at in (1, 2, 3):
        training = walked(made(), at)
        assert ("optimizer/language_model.bias/exp_avg" in tensors(training)) == (at == 3)
        found = CheckpointWriter(tmp_path, Group()).write(tensors(training), step=at, facts={}, progress={})
        again = made()
        state.load(found, again.model, names, again.optimizer)
        again.step = at
        assert_equal(tensors(walked(again, 5)), whole)


def test_wrappers_around_modules_do_not_change_names():
    assert state.unwrapped_name("model._orig_mod.a._checkpoint_wrapped_module.b") == "model.a.b"
    model = Tiny()
    model.encoder = torch.compile(model.encoder, backend="eager")
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert set(state.weights(model, names)) == {f"model/{name}" for name in (*LEARNING, "seen")}


@pytest.mark.parametrize(
    ("learning", "words"),
    [
        (LEARNING[:2], r"encoder\.2\.weight does not learn now"),
        ((*LEARNING, "language_model.bias"), r"language_model\.bias is not in it"),
        (("language_model.bias", "language_model.weight"), "is not in it; .*does not learn now"),
    ],
)
def test_a_smaller_a_larger_and_another_set_of_parameters_are_refused_by_name(tmp_path, learning, words):
    found = write(tmp_path, Training().walk(1))
    training = Training()
    before = training.copied
    with pytest.raises(CheckpointError, match=f"refused because other parameters learn: .*{words}"):
        state.load(found, training.model, learning, training.optimizer)
    assert_equal(training.tensors, before)


def test_another_shape_is_refused(tmp_path):
    found = write(tmp_path, Training().walk(1))
    with pytest.raises(CheckpointError, match=r"encoder\.0\.weight has shape \(8, 8\) and not \(9, 9\)"):
        state.load(found, Tiny(9), LEARNING)


def test_digests_tell_frozen_values_and_the_set_that_learns():
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


def whole(tensors):
    return {
        name: (value.full_tensor() if isinstance(value, DTensor) else value).clone().numpy()
        for name, value in tensors.items()
    }


@pytest.mark.slow
def test_a_sharded_training_is_saved_in_shares_and_read_by_any_number_of_ranks(tmp_path):
    def go_on(number):
        group, training = Group(), sharded()
        found = find_checkpoint(tmp_path, group).found
        if found is not None:
            training.load(found, group)
        was = whole(training.tensors)
        frozen = state.frozen_digests(training.model, LEARNING)
        saved = write(tmp_path, training.walk(training.step + 3), store=CheckpointWriter(tmp_path, group))
        names = sorted(name for name in saved.manifest.files if name.endswith(".distcp"))
        return was, whole(training.tensors), frozen, names

    before, step = None, 0
    for count in (2, 1, 4, 2):
        answers = on_ranks(count, together(go_on))
        was, now, frozen, names = answers[0]
        if before is not None:
            for name, value in before.items():
                assert (value == was[name]).all(), name  # whoever wrote it, the same bits are read
        assert frozen == state.frozen_digests(Tiny(), LEARNING)
        assert names == [f"__{number}_0.distcp" for number in range(count)]
        before, step = now, step + 3
        assert newest_valid(tmp_path).step == step
    alone = Training().walk(step).tensors
    for name, value in before.items():
        assert abs(value - alone[name].numpy()).max() < 1e-6, name
    assert_equal_close(Training().load(newest_valid(tmp_path)).tensors, alone)


def assert_equal_close(one, other):
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-6, atol=1e-7, msg=name)


def test_content_that_is_nonsense_is_named_though_every_checksum_holds(tmp_path):
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
