"""A recipe of two stages that train different parts, with a model in memory and with a sharded model."""

from dataclasses import replace

import pytest
from rich.console import Console
from safetensors.torch import load_file

from audio_lm.config.load import load_recipe
from audio_lm.evaluation.predict import read_predictions
from audio_lm.run.folder import RunFolder
from audio_lm.run.prepare import Prepared
from audio_lm.run.session import RunSession
from audio_lm.run.stage_model import StageModels
from tests.conftest import SMALL_RECIPE
from tests.run.test_process_groups import curves, files_of, train_run

TEXT = SMALL_RECIPE.replace("{data}", "{folder}/data").replace("{store}", "{folder}/{name}.db")
PACKS = (
    "stages.pretrain.packs_per_step=2",
    "stages.chat.packs_per_step=2",
    "stages.pretrain.pack_tokens=200",
)
LAYOUTS = {
    "sharded": ["hardware.sharding=fsdp"],
    "tensor_parallel": ["hardware.sharding=fsdp", "hardware.tensor_parallel=2", "hardware.frozen=sharded"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def alone(folder):
    return train_run(folder, "alone", 1, *PACKS, text=TEXT)[0]


def weights_in(run, stage):
    return {
        (path.name, name): value
        for path in sorted((run / "stages" / stage / "model").iterdir())
        for name, value in load_file(path).items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_sharded_model_gives_the_same_losses_files_and_answers(folder, alone, name):
    together, _ = train_run(folder, name, 2, *PACKS, *LAYOUTS[name], text=TEXT)
    expected, found = curves(folder, "alone"), curves(folder, name)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-5), key
    for stage in ("pretrain", "chat"):
        before, after = weights_in(alone, stage), weights_in(together, stage)
        assert before.keys() == after.keys()
        for key, value in before.items():
            assert (value - after[key]).abs().max() < 1e-5, key
    frozen = "language_model.safetensors"
    first = {key: value for key, value in weights_in(alone, "pretrain").items() if key[0] == frozen}
    for key, value in weights_in(together, "pretrain").items():
        assert key[0] != frozen or value.equal(first[key]), "frozen, with the same first weights"
    for kept in sorted((alone / "predictions").rglob("*.jsonl")):
        other = together / kept.relative_to(alone)
        # The stamp names the model, whose weights differ in their last digits.
        found, expected = (
            [replace(row, stamp=None) for row in read_predictions(path)] for path in (other, kept)
        )
        assert found == expected, kept.name
    assert files_of(together)[0] == files_of(alone)[0]


def test_a_model_that_is_not_sharded_stays_in_memory(small, small_recipe, own_vocabulary, tmp_path):
    model = object()
    prepared = Prepared({}, {}, own_vocabulary, model, {})
    models = StageModels(
        small, prepared, RunSession(load_recipe(small_recipe), RunFolder(tmp_path), Console())
    )
    assert not models.is_sharded
    assert models.load("pretrain", None) is model
    with models.generating():
        assert models.model is model


def test_on_a_gpu_answers_are_computed_there_although_the_trainer_moved_the_model_away(
    small, small_recipe, own_vocabulary, tmp_path
):
    class Model:
        devices = ()

        def to(self, device):
            self.devices = (*self.devices, str(device))

    recipe = replace(small, hardware=replace(small.hardware, accelerator="gpu"))
    session = RunSession(load_recipe(small_recipe), RunFolder(tmp_path), Console())
    models = StageModels(recipe, Prepared({}, {}, own_vocabulary, Model(), {}), session)
    with models.generating():
        assert models.model.devices == ("cuda:0",)
