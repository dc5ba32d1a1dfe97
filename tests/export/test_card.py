"""The README of an exported folder."""

from dataclasses import replace

import yaml

from audio_lm.export.card import Facts, read_facts, readme
from audio_lm.export.trained import trained_tasks
from audio_lm.run.open import open_run
from audio_lm.tasks.config import OwnTaskConfig


def card_of(run, stage, *, commands=(), step=None, is_adapter=False):
    recipe, folder = open_run(run.path)
    facts = read_facts(recipe, folder, stage, step=step, commands=commands)
    return facts, readme(facts, trained_tasks(recipe, stage), is_adapter=is_adapter)


def test_it_has_the_metadata_of_the_hub(whole_run):
    _, text = card_of(whole_run, "chat")
    _, front, _ = text.split("---\n", 2)
    table = yaml.safe_load(front)
    assert (table["library_name"], table["pipeline_tag"]) == ("transformers", "audio-text-to-text")
    assert "base_model" not in table


def test_a_base_on_the_hub_is_named_and_a_folder_is_not(whole_run, tmp_path):
    facts, _ = card_of(whole_run, "chat")
    for load, expected in (("Qwen/Qwen2-Audio-7B", True), (str(tmp_path), False)):
        recipe = replace(facts.recipe, model=replace(facts.recipe.model, load=load))
        assert (
            "base_model: " in readme(replace(facts, recipe=recipe), trained_tasks(recipe, "chat"))
        ) == expected


def test_it_has_every_trained_prompt_and_source(whole_run):
    _, text = card_of(whole_run, "chat")
    for task in trained_tasks(open_run(whole_run.path)[0], "chat"):
        assert f"### {task.name}: " in text
        assert all(f"\n{prompt}\n" in text for prompt in task.texts)
    assert "| pretrain | sec | synthetic/events-train |" in text
    assert "| chat | chat | synthetic/dialogues-train | 100.0 % |" in text


def test_scores_are_those_of_the_exported_stage(whole_run):
    facts, text = card_of(whole_run, "pretrain")
    assert [row.benchmark for row in facts.rows] == ["events"]
    assert "| pretrain | events | sec | accuracy" in text
    assert "dialogues" not in text.split("## Recipe")[0]
    assert "## Scores" not in card_of(whole_run, "pretrain", step=3)[1]


def test_commands_are_shown_where_they_exist(whole_run):
    assert "audio-lm ask" not in card_of(whole_run, "chat")[1]
    assert "audio-lm ask . clip.wav --task chat" in card_of(whole_run, "chat", commands=["ask"])[1]


def test_the_command_of_an_own_task_carries_its_question(whole_run):
    facts, _ = card_of(whole_run, "pretrain", commands=["ask"])
    recipe = replace(facts.recipe, tasks={"loud": OwnTaskConfig("loudness", ["How loud is it?"])})
    tasks = [replace(trained_tasks(facts.recipe, "pretrain")[0], name="loud")]
    assert "ask . clip.wav --question 'How loud is it?'" in readme(replace(facts, recipe=recipe), tasks)


def test_languages_are_read_from_the_manifests_or_left_out(whole_run, tmp_path):
    facts, _ = card_of(whole_run, "chat")
    assert isinstance(facts, Facts)
    assert "unknown" not in facts.languages
    recipe, folder = open_run(whole_run.path)
    elsewhere = replace(recipe, data_dir=str(tmp_path))
    assert read_facts(elsewhere, folder, "chat", step=None, commands=()).languages == ()


def test_settings_of_the_machine_are_left_out(whole_run):
    _, text = card_of(whole_run, "chat")
    settings = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    recipe, _ = open_run(whole_run.path)
    assert settings["stages"]["chat"]["steps"] == 3
    assert settings["seed"] == recipe.seed
    assert not {"data_dir", "tracking", "hardware", "evaluation"} & settings.keys()
    assert str(recipe.data_dir) not in text
    assert "\n  chat:\n" not in card_of(whole_run, "pretrain")[1], "settings of a later stage"
