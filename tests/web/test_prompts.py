import json
from dataclasses import replace

import pytest

from audio_lm.config.load import load_recipe
from audio_lm.model.resolve_sizes import resolve_sizes
from audio_lm.run.load_model import LoadedModel, load_answering_model
from audio_lm.web.prompts import MAX_PROMPTS, ExamplePrompt, example_prompts
from tests.conftest import TINY


@pytest.fixture
def loaded(make_model, vocabulary):
    return LoadedModel("tiny", make_model(), vocabulary, resolve_sizes(TINY), "natural", ("sec", "asr"))


def test_a_prompt_is_a_wording_of_training_without_labels(loaded, tmp_path):
    prompts = example_prompts(loaded, str(tmp_path / "owner/name"))
    assert [prompt.task for prompt in prompts] == ["sec", "asr"]
    for prompt in prompts:
        assert prompt.text
        assert "{" not in prompt.text
        assert "qwen2-audio:" not in prompt.text


def test_a_published_model_has_prompts_of_many_tasks(loaded):
    prompts = example_prompts(replace(loaded, tasks=("chat",)), "owner/name")
    assert len(prompts) == MAX_PROMPTS
    assert len({prompt.task for prompt in prompts}) == MAX_PROMPTS


def conversation(*content):
    turns = [{"role": "user", "content": list(content)}, {"role": "assistant", "content": [{"text": "yes"}]}]
    return json.dumps({"id": "a", "supervisions": [{"custom": {"conversation": turns}}]})


def test_questions_of_conversations_are_those_of_the_training_data(whole_run, monkeypatch, tmp_path):
    manifest = tmp_path / "talks" / "a-train.jsonl"
    manifest.parent.mkdir()
    clip, why, who = {"audio": 1}, {"text": "Why?"}, {"text": "Who?"}
    lines = [
        conversation(clip, who), conversation(clip, why), conversation(clip, why), conversation(why), conversation(clip),
        conversation(clip, {"text": "long " * 50}), "{broken", "[]", '{"supervisions": [{"custom": null}]}',
    ]  # fmt: skip
    manifest.write_text("\n".join(lines) + "\n")
    recipe = load_recipe(whole_run.recipe, is_complete=True).recipe
    (name, *_) = recipe.stages
    mixture = replace(
        recipe.stages[name].mixture, sources={"chat": ["talks/a-train", "talks/gone"]}, weights={"chat": 1}
    )
    stage = replace(recipe.stages[name], mixture=mixture, prompt="chatml")
    chat = replace(recipe, stages={name: stage}, data_dir=str(tmp_path))
    monkeypatch.setattr("audio_lm.web.prompts.open_run", lambda path, trusts_code: (chat, whole_run))
    model = replace(load_answering_model(whole_run.path), tasks=("chat",))
    assert example_prompts(model, str(whole_run.path)) == (
        ExamplePrompt("chat", "Why?"),
        ExamplePrompt("chat", "Who?"),
    )
