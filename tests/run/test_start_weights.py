"""A stage that starts from the weights of a stage of another run, and what is refused in one sentence."""

import json
import os

import pytest
from rich.console import Console

from audio_lm.common.errors import CheckpointError, RecipeError, UserError
from audio_lm.config.load import load_recipe
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.vocabulary import build_vocabulary
from audio_lm.prompts.tokenizer import train_tokenizer
from audio_lm.run.api import load_model
from audio_lm.run.start import RunStart
from audio_lm.run.train import train
from tests.run.test_train import assert_equal_weights, weights

ONLY = "only=[chat]"


def train_quietly(recipe, out, *overrides):
    console = Console(record=True, width=400, file=open(os.devnull, "w"))  # noqa: SIM115
    return train(load_recipe(recipe, overrides), out=out, console=console)


def start_from(folder, stage="pretrain", *, of="chat"):
    return f"stages.{of}.start_from={folder.path}/stages/{stage}"


def test_a_stage_starts_from_the_weights_of_another_run(whole_run, small_recipe, tmp_path):
    run = train_quietly(small_recipe, tmp_path / "run", ONLY, start_from(whole_run))
    assert_equal_weights(weights(run, "chat"), weights(whole_run, "chat"))
    assert not run.stage("pretrain").exists()
    ours, theirs = (
        json.loads((each.path / "tokens.json").read_text())["tokens"] for each in (run, whole_run)
    )
    assert ours == theirs


@pytest.mark.slow
def test_the_first_stage_of_a_recipe_may_start_from_them_too_and_moves_on(whole_run, small_recipe, tmp_path):
    run = train_quietly(small_recipe, tmp_path / "run", start_from(whole_run, "chat", of="pretrain"))
    before, after = weights(whole_run, "chat"), weights(run, "pretrain")
    assert_equal_weights(
        {"language_model": before["language_model"]}, {"language_model": after["language_model"]}
    )
    assert any(not value.equal(after["encoder"][name]) for name, value in before["encoder"].items())
    resumed = train_quietly(
        small_recipe, tmp_path / "run", start_from(whole_run, "chat", of="pretrain"), "resume=auto"
    )
    assert_equal_weights(weights(resumed, "chat"), weights(run, "chat"))


@pytest.mark.slow
def test_new_low_rank_updates_keep_their_initial_values(whole_run, small_recipe, tmp_path):
    pytest.importorskip("peft")
    lora = (
        "+model.lora.language_model={rank: 2}",
        "+stages.chat.parts.language_model_lora={lr: 0.001}",
        "+stages.pretrain.parts.language_model_lora={lr: null}",
        "stages.chat.parts.language_model.lr=null",
    )
    run = train_quietly(small_recipe, tmp_path / "run", ONLY, start_from(whole_run), *lora)
    before, after = weights(whole_run, "pretrain"), weights(run, "chat")
    assert_equal_weights(
        {"language_model": before["language_model"]}, {"language_model": after["language_model"]}
    )
    with pytest.raises(CheckpointError, match=r"low-rank updates \(language_model_lora\)"):
        train_quietly(small_recipe, tmp_path / "plain", ONLY, start_from(run, "chat"))


@pytest.mark.slow
def test_a_checkpoint_in_the_middle_has_the_frozen_weights_of_the_other_run(
    whole_run, small_recipe, tmp_path
):
    run = train_quietly(
        small_recipe, tmp_path / "run", ONLY, start_from(whole_run), "stages.chat.checkpoint_every=1"
    )
    model, end = load_model(run.path, "chat", step=3), load_model(run.path, "chat")
    load_weights(end, run.model("chat"))
    assert all(
        a.equal(b) for a, b in zip(model.state_dict().values(), end.state_dict().values(), strict=True)
    )


def test_what_cannot_be_started_from_is_refused_before_anything_is_written(whole_run, small_recipe, tmp_path):
    pretrain = f"{whole_run.path}/stages/pretrain"
    wider = (
        "model.language_model.settings.hidden_size=64",
        "model.language_model.settings.num_attention_heads=2",
    )
    for overrides, kind, message in (
        ((ONLY, f"stages.chat.start_from={whole_run.path}"), RecipeError, "expected RUN/stages/STAGE"),
        ((ONLY, f"stages.chat.start_from={tmp_path}/stages/chat"), UserError, "holds no run"),
        ((ONLY, start_from(whole_run, "sing")), CheckpointError, r"has finished \['pretrain', 'chat'\]"),
        ((f"stages.chat.start_from={pretrain}",), RecipeError, r"no effect .* only=\[chat\]"),
        ((ONLY, f"stages.chat.start_from={pretrain}", *wider), CheckpointError, "does not fit the model"),
    ):
        with pytest.raises(kind, match=message):
            train_quietly(small_recipe, tmp_path / "run", *overrides)
        assert not (tmp_path / "run").exists(), message


def test_another_vocabulary_is_refused(whole_run, small_recipe, tmp_path):
    train_tokenizer(["one two three"] * 4, vocab_size=280).save_pretrained(tmp_path / "tokenizer")
    own = f"model.tokenizer.load={tmp_path / 'tokenizer'}"
    start = RunStart(load_recipe(small_recipe, [ONLY, start_from(whole_run)]), tmp_path / "run")
    start.choose_stages()
    other = load_recipe(small_recipe, [own]).recipe
    with pytest.raises(RecipeError, match="another vocabulary"):
        start.check_start_vocabulary(build_vocabulary(other, {}))
