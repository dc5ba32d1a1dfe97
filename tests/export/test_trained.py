"""Prompts of an exported folder are those of training: same tokens for every task, format and paraphrase."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoProcessor

from audio_lm.common.audio_units import frames_in, tokens_in
from audio_lm.common.languages import name_of_language
from audio_lm.data.config import MixtureConfig
from audio_lm.export.hugging_face import export_model
from audio_lm.export.trained import trained_tasks
from audio_lm.model.build import build_model
from audio_lm.prompts.encode import encode
from audio_lm.prompts.render import num_choices, render, render_chat
from audio_lm.tasks.dummy_labels import labels_for
from audio_lm.tasks.registry import CHAT, TASKS
from tests.conftest import TINY
from tests.model.originals import noise

PROMPTS = ("tags", "natural", "chatml")


def recipe_of(small, prompts, tasks=tuple(TASKS)):
    """Recipe with a stage for each prompt format, all trained on these tasks."""
    mixture = MixtureConfig(
        sources={task: ["made/x-train"] for task in tasks}, weights=dict.fromkeys(tasks, 1.0)
    )
    stage = replace(small.stages["pretrain"], mixture=mixture)
    return replace(small, stages={prompt: replace(stage, prompt=prompt) for prompt in prompts})


@pytest.fixture(scope="module", params=PROMPTS)
def exported(request, vocabulary, tmp_path_factory):
    """Prompt format, and the processor of a folder that was exported for it."""
    torch.manual_seed(0)
    model = build_model(TINY, num_base=vocabulary.num_base, num_new=len(vocabulary.new_tokens))
    folder = tmp_path_factory.mktemp("exported") / "folder"
    export_model(model, vocabulary, folder, prompt=request.param)
    return request.param, AutoProcessor.from_pretrained(folder)


def training_prompts_of(task, labels, prompt, vocabulary, num_tokens):
    """Distinct token ids of the questions that training and evaluation put."""
    choices = [(choice, False) for choice in range(num_choices(task, prompt))] + [(0, True)]
    rendered = [
        render(task, labels, prompt=prompt, choice=choice, is_evaluation=is_evaluation, with_answer=False)
        for choice, is_evaluation in choices
    ]
    encoded = [encode(pieces, vocabulary, num_tokens_of_clip=num_tokens) for pieces in rendered]
    return [list(ids) for ids in dict.fromkeys(tuple(one.token_ids) for one in encoded)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_prompt_has_the_tokens_of_training(exported, small, vocabulary, language):
    prompt, processor = exported
    waves = noise(4_000, 9_111)
    num_tokens = [tokens_in(frames_in(len(wave))) for wave in waves]
    listed = trained_tasks(recipe_of(small, [prompt]), prompt)
    assert [task.name for task in listed] == list(TASKS)
    for trained in listed:
        task = TASKS[trained.name]
        labels = labels_for(task) | {"language": task.language or language}
        fields = {**labels, "target_language_name": name_of_language(labels.get("target_language", "en"))}
        texts = dict.fromkeys((*trained.texts, trained.held_out))
        got = [
            processor(
                text=text.format(**fields),
                audio=waves[: task.num_clips],
                return_tensors="pt",
                sampling_rate=16_000,
            )["input_ids"][0].tolist()
            for text in texts
            if labels["language"] == "zh" or text.isascii()
        ]
        expected = training_prompts_of(task, labels, prompt, vocabulary, num_tokens)
        assert len(got) >= len(expected)
        missing = [vocabulary.text(ids) for ids in expected if ids not in got]
        if "target_language" in labels:  # a Chinese question has the language's Chinese name
            missing = [text for text in missing if text.isascii()]
        assert not missing, trained.name


def test_the_chat_template_gives_the_tokens_of_training(exported, small, vocabulary):
    prompt, processor = exported
    tasks = trained_tasks(recipe_of(small, [prompt]), prompt)
    for trained in tasks:
        start, end = trained.held_out.split("<|AUDIO|>", 1)[0], trained.held_out.rsplit("<|AUDIO|>", 1)[1]
        question = end.split("\n", 1)[1].split("<|im_end|>")[0] if prompt == "chatml" else end
        question = question.removeprefix("</audio>").removeprefix("<|audio_eos|>")
        clips = [{"type": "audio"}] * trained.num_clips
        turn = {"role": "user", "content": [*clips, {"type": "text", "text": question}]}
        text = processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
        assert text == trained.held_out, start


def test_a_system_turn_that_was_never_trained_is_refused(exported):
    prompt, processor = exported
    turns = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello"}]
    if prompt == "chatml":
        assert "Be short." in processor.apply_chat_template(turns, tokenize=False)
    else:
        with pytest.raises(Exception, match="trained on one user message without a system message"):
            processor.apply_chat_template(turns, tokenize=False)


def test_a_conversation_has_the_frame_of_training(small):
    (chat,) = trained_tasks(recipe_of(small, ["chatml"], [CHAT]), "chatml")
    turn = {"role": "user", "content": [{"audio": 1}, {"text": "Hello?"}]}
    pieces = render_chat([turn], with_answer=False)
    shown = "".join(getattr(piece, "text", "<|AUDIO|>") for piece in pieces)
    assert chat.texts[0].format(text="Hello?") == shown


def test_tasks_of_earlier_stages_are_listed_once_per_format(small):
    recipe = recipe_of(small, ["tags", "natural"], ["asr", "sec"])
    stages = {**recipe.stages, "again": recipe.stages["tags"], "later": recipe.stages["natural"]}
    listed = trained_tasks(replace(recipe, stages=stages), "again")
    assert [(task.name, task.prompt, task.stages) for task in listed] == [
        ("asr", "tags", ("tags", "again")),
        ("sec", "tags", ("tags", "again")),
        ("asr", "natural", ("natural",)),
        ("sec", "natural", ("natural",)),
    ]


def test_a_task_without_weight_was_not_trained(small):
    recipe = recipe_of(small, ["natural"], ["asr", "sec"])
    mixture = replace(recipe.stages["natural"].mixture, weights={"asr": 1.0, "sec": 0.0})
    stages = {"natural": replace(recipe.stages["natural"], mixture=mixture)}
    assert [task.name for task in trained_tasks(replace(recipe, stages=stages), "natural")] == ["asr"]
