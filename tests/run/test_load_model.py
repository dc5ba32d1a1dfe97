import json
import shutil

import pytest

from audio_lm.common.errors import CheckpointError, RecipeError, UserError
from audio_lm.export.run import export_run
from audio_lm.run.folder import RunFolder
from audio_lm.run.load_model import (
    check_prompt,
    choose_stage,
    is_run,
    load_answering_model,
    open_published,
)
from audio_lm.run.open import open_run
from tests.model import qwen_audio
from tests.model.originals import write_qwen2_audio


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    write_qwen2_audio(folder)
    return folder


def copy_of(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def test_the_stage_is_the_last_one_that_was_trained_with_the_task(whole_run, tmp_path):
    recipe, folder = open_run(whole_run.path)
    assert choose_stage(recipe, folder, None) == "chat"
    assert choose_stage(recipe, folder, None, "sec") == "pretrain"
    assert choose_stage(recipe, folder, None, "asr") == "chat", "no stage was trained with it"
    assert choose_stage(recipe, folder, "pretrain", "chat") == "pretrain"
    with pytest.raises(CheckpointError, match="Did you mean 'pretrain'"):
        choose_stage(recipe, folder, "pretrian")
    with pytest.raises(CheckpointError, match="no stage of"):
        choose_stage(recipe, RunFolder(tmp_path), None)


def test_a_run_answers_in_the_prompt_format_of_its_stage(whole_run):
    loaded = load_answering_model(whole_run.path, task="mna")
    assert (loaded.prompt, loaded.tasks, loaded.is_published) == ("tags", ("sec", "mna"), False)
    assert load_answering_model(whole_run.path).prompt == "chatml"


def test_the_prompt_of_a_published_folder_follows_from_its_files(published, tmp_path):
    assert open_published(str(published)).prompt == "chatml", "transformers writes a chat template"
    folder = copy_of(published, tmp_path)
    (folder / "chat_template.jinja").unlink()
    assert open_published(str(folder)).prompt == "natural"
    for chat_format, prompt in (("chatml", "chatml"), ("raw", "natural")):
        (folder / "generation_config.json").write_text(json.dumps({"chat_format": chat_format}))
        assert open_published(str(folder)).prompt == prompt
    (folder / "generation_config.json").unlink()
    (folder / "chat_template.jinja").write_text("<audio>{{ clip }}</audio>")
    assert open_published(str(folder)).prompt == "natural", "its vocabulary has no tags"


def test_the_prompt_of_a_qwen_audio_is_tags(tmp_path):
    tokens = "".join(f"{token} {rank}\n" for rank, token in enumerate(base64_of_bytes()))
    (tmp_path / "qwen.tiktoken").write_text(tokens)
    start = 256 + 209 + 3311
    qwen_audio.write(tmp_path, num_rows=start + 10, start_id=start)
    published = open_published(str(tmp_path))
    assert published.prompt == "tags"
    with pytest.raises(RecipeError, match=r"prompt: natural.*lacks <\|audio_bos\|>.*expected tags"):
        check_prompt(published.vocabulary, "natural", source="it")


def base64_of_bytes():
    import base64

    return [base64.b64encode(bytes([byte])).decode() for byte in range(256)]


def test_tokens_that_a_published_model_lacks_are_refused(published):
    found = open_published(str(published))
    assert "<audio>" not in found.own_tokens
    with pytest.raises(
        RecipeError, match=r"lacks <audio>, </audio> -- expected natural or chatml -- choose it with --prompt"
    ):
        check_prompt(found.vocabulary, "tags", source="it")
    check_prompt(found.vocabulary, "chatml", source="it")


def test_the_digest_changes_with_the_weights(published, tmp_path):
    folder = copy_of(published, tmp_path)
    before = open_published(str(folder)).digest
    assert open_published(str(folder)).digest == before
    (folder / "model.safetensors").write_bytes((published / "model.safetensors").read_bytes() + b" ")
    assert open_published(str(folder)).digest != before


def test_runs_models_and_other_folders_are_distinguished(whole_run, published, tmp_path, monkeypatch):
    assert is_run(whole_run.path)
    assert not is_run(published)
    assert not is_run("Qwen/Qwen2-Audio-7B"), "a name on the hub"
    with pytest.raises(UserError, match=r"holds no run .* and no model"):
        is_run(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        is_run(tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match="runs/nowhere does not exist"):
        is_run("runs/nowhere")
    with pytest.raises(UserError, match="is no run, so it has no stage 'chat'"):
        load_answering_model(published, "chat")


def test_an_exported_folder_has_its_weights_and_the_format_of_a_chat(whole_run, tmp_path):
    export_run(whole_run.path, tmp_path / "folder", report=lambda line: None)
    loaded = load_answering_model(tmp_path / "folder")
    assert (loaded.prompt, loaded.is_published) == ("chatml", True)
    assert {"<audio>", "<|im_start|>"} <= open_published(str(tmp_path / "folder")).own_tokens
