import pytest

from audio_lm.common.errors import CheckpointError, RecipeError
from audio_lm.config.load import load_recipe
from audio_lm.prompts.vocabulary import MARKUP_TOKENS
from audio_lm.run.folder import (
    RunFolder,
    check_writable,
    folder_for,
    kept_tokens,
    open_folder,
    stages_to_run,
)


def test_the_folder_is_named_after_recipe_and_signature(small_recipe):
    composed = load_recipe(small_recipe)
    assert folder_for(composed).path.name == f"small-{composed.signature}"
    assert folder_for(composed, small_recipe.parent / "x").path.name == "x"


def test_an_earlier_run_is_moved_aside_and_never_overwritten(small_recipe, tmp_path):
    composed, folder = load_recipe(small_recipe), RunFolder(tmp_path / "run")
    open_folder(folder, composed)
    (folder.path / "kept").write_text("1")
    open_folder(folder, composed)
    assert (tmp_path / "run.1" / "kept").read_text() == "1"
    assert folder.recipe.is_file()


def test_a_resume_uses_the_same_folder_and_refuses_another_recipe(small_recipe, tmp_path):
    folder = RunFolder(tmp_path / "run")
    open_folder(folder, load_recipe(small_recipe))
    (folder.path / "kept").write_text("1")
    open_folder(folder, load_recipe(small_recipe, ["resume=auto"]))
    assert (folder.path / "kept").is_file()
    with pytest.raises(RecipeError, match="another recipe"):
        open_folder(folder, load_recipe(small_recipe, ["resume=auto", "seed=9"]))


def test_the_recipe_of_a_resumed_run_is_replaced_where_settings_changed(small_recipe, tmp_path):
    folder = RunFolder(tmp_path / "run")
    open_folder(folder, load_recipe(small_recipe), ["<|en|>"])
    first = folder.recipe.read_text()
    open_folder(folder, load_recipe(small_recipe, ["resume=auto"]), ["<|en|>"])
    assert folder.recipe.read_text() == first, "settings of one start are not compared"
    more = load_recipe(small_recipe, ["resume=auto", "evaluation.benchmarks.events.max_clips=2"])
    for _ in range(2):
        open_folder(folder, more, ["<|en|>"])
    assert load_recipe(folder.recipe, is_complete=True).recipe == more.recipe
    assert (folder.path / "recipe.yaml.1").read_text() == first
    assert not (folder.path / "recipe.yaml.2").exists()
    assert kept_tokens(folder) == ["<|en|>"]


def test_the_check_for_a_writable_folder_leaves_nothing(tmp_path):
    check_writable(RunFolder(tmp_path / "a" / "b"))
    assert not list(tmp_path.iterdir())


def test_stages_are_chosen_in_the_order_of_the_recipe(small_recipe, tmp_path):
    folder = RunFolder(tmp_path)
    assert stages_to_run(load_recipe(small_recipe).recipe, folder) == ["pretrain", "chat"]
    folder.model("pretrain").mkdir(parents=True)
    assert stages_to_run(load_recipe(small_recipe, ["only=[chat]"]).recipe, folder) == ["chat"]


def test_a_stage_is_finished_only_with_its_weights(tmp_path):
    folder = RunFolder(tmp_path)
    folder.stage("chat").mkdir(parents=True)
    (folder.stage("chat") / "status.json").write_text('{"finished": true}')
    assert not folder.is_finished("chat")
    folder.model("chat").mkdir()
    assert folder.is_finished("chat")
    assert folder.status("other") == {}


def test_damaged_weights_of_a_stage_are_refused_by_name(finished_folder):
    finished_folder.check_model("pretrain")
    path = finished_folder.model("pretrain") / "encoder.safetensors"
    raw = path.read_bytes()
    for damage in (b"", raw[:300], raw.replace(b"w", b"v", 1)):
        path.write_bytes(damage)
        with pytest.raises(
            CheckpointError, match=r"model: encoder\.safetensors has .* resume=auto writes it again"
        ):
            finished_folder.check_model("pretrain")
    path.unlink()
    with pytest.raises(CheckpointError, match=r"encoder\.safetensors is missing"):
        finished_folder.check_model("pretrain")


def test_a_stage_does_not_start_from_damaged_weights(finished_folder, small_recipe):
    recipe = load_recipe(small_recipe, ["only=[chat]"]).recipe
    assert stages_to_run(recipe, finished_folder) == ["chat"]
    (finished_folder.model("pretrain") / "encoder.safetensors").write_bytes(b"other")
    with pytest.raises(CheckpointError, match=r"encoder\.safetensors has 5 bytes"):
        stages_to_run(recipe, finished_folder)


@pytest.mark.parametrize("keep", [0, 1, 40, -1])
def test_a_truncated_recipe_is_written_again_if_there_are_checkpoints(small_recipe, tmp_path, keep):
    composed, folder = load_recipe(small_recipe, ["resume=auto"]), RunFolder(tmp_path / "run")
    open_folder(folder, composed)
    text = folder.recipe.read_text()
    (folder.checkpoints("pretrain") / "step-00000001").mkdir(parents=True)
    folder.recipe.write_text("".join(text.splitlines(keepends=True)[:keep]))
    open_folder(folder, composed)
    assert folder.recipe.read_text() in (text, composed.text)
    assert {path.name for path in folder.path.iterdir() if path.is_file()} == {"recipe.yaml", "tokens.json"}


def test_a_run_keeps_its_tokens_and_an_older_one_has_all(small_recipe, tmp_path):
    folder, tokens = RunFolder(tmp_path / "run"), ["<|im_end|>", "<|en|>"]
    assert kept_tokens(folder) is None
    open_folder(folder, load_recipe(small_recipe), tokens)
    assert kept_tokens(folder) == tokens
    for damaged in ("", "{", '{"tokens": 3}', "[]"):
        folder.tokens.write_text(damaged)
        assert kept_tokens(folder) is None, "the recipe determines them"
    folder.tokens.unlink()
    assert kept_tokens(folder) == list(MARKUP_TOKENS)
