"""Names that ``import audio_lm`` exports, and the examples of docs/python.md."""

import re
import subprocess
import sys
from pathlib import Path

import lightning
import pytest
import torch

import audio_lm
from audio_lm.common.errors import UserError
from audio_lm.data.manifest.cuts import read_cuts

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_importing_the_package_imports_nothing_heavy():
    program = "import sys, audio_lm; print([name for name in ('torch', 'lightning', 'lhotse') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", audio_lm.__all__)
def test_every_exported_name_is_documented_here_and_on_the_page(name):
    assert name in dir(audio_lm)
    assert getattr(audio_lm, name).__doc__
    assert f"`{name}" in PAGE.read_text()


def test_an_unknown_name_is_answered_with_the_exported_ones():
    with pytest.raises(AttributeError, match=r"no attribute 'fit'; it offers load_recipe, train"):
        audio_lm.fit  # noqa: B018


def test_the_first_stage_of_the_demo_trains_with_a_plain_lightning_trainer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = [line for line in BLOCKS[0].splitlines() if line]
    assert len(lines) <= 16, "about 15 lines"
    found = {}
    exec(BLOCKS[0], found)
    printed = capsys.readouterr().out
    assert "train_loss/all" in printed
    assert found["trainer"].global_step == 4
    first = audio_lm.build_model(found["composed"]).state_dict()
    moved = [
        name for name, value in found["model"].state_dict().items() if not torch.equal(value, first[name])
    ]
    assert moved, "the model was trained"


def test_another_objective_trains_too(tmp_path, monkeypatch, small_recipe, capsys):
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(BLOCKS[1], found)
    composed = audio_lm.load_recipe(small_recipe)
    data = audio_lm.build_data(composed, "pretrain")
    module = audio_lm.build_module(composed, "pretrain", audio_lm.build_model(composed))
    settings = {name: getattr(module, name) for name in ("rate_of", "factor", "optimizer")}
    smoothed = found["SmoothedModule"](module.model, **settings, log_every=1)
    trainer = trainer_of(2)
    trainer.fit(smoothed, datamodule=data)
    assert trainer.callback_metrics["train_loss/all"].isfinite()


def trainer_of(steps):
    """Trainer without loggers, checkpoints or progress bar."""
    return lightning.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )


def test_a_plain_trainer_gives_the_weights_of_a_run(whole_run, small_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    composed = audio_lm.load_recipe(small_recipe)
    module = audio_lm.build_module(composed, "pretrain", audio_lm.build_model(composed))
    torch.manual_seed(0)
    trainer = trainer_of(composed.recipe.stages["pretrain"].steps)
    trainer.fit(module, datamodule=audio_lm.build_data(composed, "pretrain"))
    trained = audio_lm.load_model(whole_run.path, "pretrain").state_dict()
    for name, value in module.model.state_dict().items():
        torch.testing.assert_close(value, trained[name], msg=name)


def test_a_trained_model_answers_for_any_cuts(whole_run, small):
    cuts = read_cuts(Path(small.data_dir), "synthetic/events-test")[:3]
    answers = audio_lm.predict(whole_run.path, cuts, "sec", stage="pretrain", max_new_tokens=5)
    assert [answer.id for answer in answers] == [cut.id for cut in cuts]
    recipe, folder = audio_lm.open_run(whole_run.path)
    assert list(recipe.stages) == ["pretrain", "chat"]
    assert folder.path == whole_run.path
    with pytest.raises(UserError, match="holds no run"):
        audio_lm.load_model(whole_run.path / "nowhere")
