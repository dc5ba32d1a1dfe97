import json

import pytest
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console

from audio_lm.common.errors import RecipeError
from audio_lm.config.load import load_recipe
from audio_lm.pipeline.plugins import build_callbacks, build_loggers, check_plugins
from audio_lm.run.train import train

MONITOR = "callbacks=[{class_path: lightning.pytorch.callbacks.LearningRateMonitor, init_args: {logging_interval: step}}]"
OWN = """
from lightning import Callback

class CountSteps(Callback):
    def __init__(self, by=1):
        self.by, self.count = by, 0

    def on_train_batch_end(self, trainer, *_):
        self.count += self.by
        if trainer.global_step == trainer.max_steps:
            with open("counts.txt", "a") as file:
                file.write(f"{self.count}\\n")

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]
"""


def plugged(path, *overrides):
    return load_recipe(path, overrides, trusts_code=True).recipe


def test_a_recipe_alone_cannot_name_code(small_recipe):
    logger = "+logger={class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: logs}}"
    for override, key in ((MONITOR, r"callbacks\[0\]"), (logger, "logger")):
        with pytest.raises(RecipeError, match=rf"`{key}` names lightning\.pytorch.*add --trust-code"):
            load_recipe(small_recipe, [override])


def test_a_recipe_without_them_keeps_its_signature_and_its_text(small_recipe):
    plain = load_recipe(small_recipe)
    assert "callbacks" not in plain.tree
    assert "logger" not in plain.tree
    with_monitor = load_recipe(small_recipe, [MONITOR], trusts_code=True)
    assert with_monitor.signature != plain.signature, "what a callback does to the weights is not known"
    logger = "+logger={class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: logs}}"
    assert load_recipe(small_recipe, [logger], trusts_code=True).signature == plain.signature


def test_they_are_built_with_their_arguments_anew_for_each_stage(small_recipe, tmp_path):
    recipe = plugged(
        small_recipe,
        MONITOR,
        f"+logger={{class_path: lightning.pytorch.loggers.CSVLogger, init_args: {{save_dir: {tmp_path}}}}}",
    )
    check_plugins(recipe)
    (one,), (other,) = build_callbacks(recipe), build_callbacks(recipe)
    assert isinstance(one, LearningRateMonitor)
    assert one is not other
    assert one.logging_interval == "step"
    assert isinstance(build_loggers(recipe)[0], CSVLogger)


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        ("{class_path: nowhere.Some}", r"callbacks\[0\].class_path: 'nowhere.Some' cannot be imported"),
        ("{class_path: lightning.Nothing}", "cannot be imported"),
        ("{class_path: lightning.Trainer}", "another kind of object; expected .*Callback"),
        ("{class_path: Some}", "has no module"),
        (
            "{class_path: lightning.pytorch.callbacks.LearningRateMonitor, init_args: {interval: step}}",
            r"callbacks\[0\].init_args do not fit .*unexpected keyword argument 'interval'",
        ),
    ],
)
def test_one_that_cannot_be_built_is_refused_before_anything_is_prepared(small_recipe, plugin, message):
    with pytest.raises(RecipeError, match=message):
        check_plugins(plugged(small_recipe, f"callbacks=[{plugin}]"))


@pytest.mark.slow
def test_a_callback_of_the_working_folder_is_run_gets_its_state_back_and_a_logger_gets_the_curves(
    small_recipe, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_callbacks.py").write_text(OWN)
    overrides = [
        "callbacks=[{class_path: my_callbacks.CountSteps, init_args: {by: 2}}]",
        f"+logger={{class_path: lightning.pytorch.loggers.CSVLogger, init_args: {{save_dir: {tmp_path / 'logs'}}}}}",
        "only=[pretrain]",
        "stages.pretrain.checkpoint_every=2",
    ]
    composed = load_recipe(small_recipe, overrides, trusts_code=True)
    steps = composed.recipe.stages["pretrain"].steps
    out = tmp_path / "run"
    train(composed, out=out, console=Console(quiet=True))
    curves = [path.read_text() for path in (tmp_path / "logs").rglob("metrics.csv")]
    assert "val_loss/all" in curves[0]
    status = out / "stages/pretrain/status.json"
    status.write_text(json.dumps(json.loads(status.read_text()) | {"finished": False}))
    kept = sorted((out / "stages/pretrain/checkpoints").glob("step-*"))
    assert len(kept) > 1
    for file in kept[-1].iterdir():
        file.unlink()
    kept[-1].rmdir()
    composed = load_recipe(small_recipe, [*overrides, "resume=auto"], trusts_code=True)
    train(composed, out=out, console=Console(quiet=True))
    assert (tmp_path / "counts.txt").read_text().split() == [str(2 * steps)] * 2
