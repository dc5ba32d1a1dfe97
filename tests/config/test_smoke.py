from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from audio_lm.common.errors import RecipeError
from audio_lm.config.load import load_recipe
from audio_lm.config.schema import StandInsConfig
from audio_lm.config.smoke import has_enough, shrink_corpus, with_smoke_data
from audio_lm.data.config import MixtureConfig, OnlineConfig
from audio_lm.pipeline.corpora import prepare_corpora

TINY = ["use.scale=tiny"]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    """Run in a folder without data."""
    monkeypatch.chdir(tmp_path)


def create(source):
    path = Path("data") / f"{source}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")


def own(sources, **more):
    """Recipe with a corpus ``mine``."""
    mixture = {"sources": sources, "weights": dict.fromkeys(sources, 1), **more}
    stage = {"prompt": "tags", "mixture": mixture, "parts": {"encoder": {"lr": 1e-3}}, "steps": 5}
    benchmark = {"source": "mine/all-test", "task": "asr", "metrics": ["wer"], "prompt": "tags", "stage": "s"}
    tree = {
        "use": {"model": "tiny"},
        "stages": {"s": stage},
        "evaluation": {"benchmarks": {"b": benchmark}},
        "published": {"b": {"wer": 1}},
    }
    Path("own.yaml").write_text(yaml.safe_dump(tree))
    return load_recipe("own.yaml", TINY)


@pytest.mark.parametrize("name", ["qwen_audio", "qwen2_audio"])
def test_a_full_size_recipe_at_tiny_scale_uses_synthetic_data(name):
    full, smoke = load_recipe(name).recipe, load_recipe(name, TINY).recipe
    assert list(smoke.corpora) == ["synthetic"]
    assert list(smoke.stages) == list(full.stages)
    for stage in smoke.stages.values():
        assert all(source.startswith("synthetic/") for [source] in stage.mixture.sources.values())
    pretrain = smoke.stages["pretrain"].mixture
    assert pretrain.weights["asr"] == full.stages["pretrain"].mixture.weights["asr"]


def test_at_least_24_tasks_of_the_paper_have_a_stand_in():
    smoke = load_recipe("qwen_audio", TINY).recipe
    assert len(smoke.stages["pretrain"].mixture.weights) >= 24


def test_available_data_is_used_unchanged():
    for source in ("mine/all-train", "mine/all-test"):
        create(source)
    smoke = own({"asr": ["mine/all-train"]})
    assert smoke.notes == ()
    assert not smoke.recipe.corpora
    assert smoke.recipe.stages["s"].mixture.sources == {"asr": ["mine/all-train"]}
    assert list(smoke.recipe.evaluation.benchmarks) == ["b"]


def test_absent_data_is_replaced_with_a_note_for_each_source():
    smoke = own({"asr": ["mine/all-train"]})
    assert smoke.notes == (
        "mine/all-train is absent and replaced by synthetic/digits-train",
        "benchmark b is dropped: mine/all-test is absent",
    )
    assert smoke.recipe.stages["s"].mixture.sources == {"asr": ["synthetic/digits-train"]}
    assert list(smoke.recipe.corpora) == ["synthetic"]
    assert not smoke.recipe.published


def test_only_the_absent_sources_of_a_mixture_are_replaced():
    create("mine/all-train")
    sources = {
        "asr": ["mine/all-train", "theirs/a-train", "theirs/b-train"],
        "lid": ["theirs/c-train"],
        "sec": ["mine/all-train"],
    }
    weights = {
        "source_weights": {"mine/all-train": 1, "theirs/a-train": 2, "theirs/b-train": 1},
        "max_epochs": {"theirs/a-train": 1, "all": 3},
    }
    smoke = own(
        sources, **weights, groups={"speech": ["asr", "lid"], "sound": ["sec"]}, schedule={"lid": [[0, 1]]}
    )
    mixture = smoke.recipe.stages["s"].mixture
    assert mixture.sources == {
        "asr": ["mine/all-train", "synthetic/digits-train"],
        "lid": ["synthetic/phrases-train"],
        "sec": ["mine/all-train"],
    }
    assert mixture.groups == {"speech": ["asr", "lid"], "sound": ["sec"]}
    assert mixture.max_epochs == {"all": 3}
    notes = [note for note in smoke.notes if "replaced by" in note]
    assert notes == [
        "theirs/a-train is absent and replaced by synthetic/digits-train",
        "theirs/b-train is absent and replaced by synthetic/digits-train",
        "theirs/c-train is absent and replaced by synthetic/phrases-train",
    ]


def test_rules_of_adapted_shares_keep_the_tasks_that_have_data():
    create("mine/all-train")
    recipe = own({"asr": ["mine/all-train"], "sec": ["mine/all-train"]}).recipe
    stand_ins = StandInsConfig(sources={"aac": "synthetic/x"})

    def smoke(online, *tasks):
        sources = {task: ["mine/all-train"] for task in tasks} | {"lid": ["a/b"]}
        mixture = MixtureConfig(sources=sources, weights=dict.fromkeys(sources, 1.0), online=online)
        stage = replace(recipe.stages["s"], mixture=mixture)
        found = with_smoke_data(replace(recipe, stages={"s": stage}, stand_ins=stand_ins))
        return found.recipe.stages["s"].mixture.online, found.notes

    rules, notes = smoke(OnlineConfig(every=7, min_share={"lid": 0.2, "sec": 0.1}), "asr", "sec")
    assert rules == OnlineConfig(every=7, min_share={"sec": 0.1})
    assert not any("online" in note for note in notes)
    rules, notes = smoke(OnlineConfig(every=7), "asr")
    assert rules is None
    assert "mixture.online is dropped: the tasks that have data cannot keep its bounds" in notes


def test_a_source_without_a_replacement_is_dropped_with_a_note():
    create("mine/all-train")
    recipe = own({"asr": ["mine/all-train"]}).recipe
    stage = recipe.stages["s"]
    mixture = replace(
        stage.mixture, sources={"asr": ["mine/all-train"], "lid": ["a/b"]}, weights={"asr": 1.0, "lid": 1.0}
    )
    alone = replace(
        recipe,
        stages={"s": replace(stage, mixture=mixture)},
        stand_ins=StandInsConfig(sources={"aac": "synthetic/x"}),
    )
    smoke = with_smoke_data(alone)
    assert smoke.recipe.stages["s"].mixture.weights == {"asr": 1.0}
    assert "a/b of task lid is dropped: it is absent and has no replacement" in smoke.notes


def test_the_recipe_of_a_run_keeps_its_replacements(tmp_path):
    smoke = own({"asr": ["mine/all-train"]})
    kept = tmp_path / "recipe.yaml"
    kept.write_text(smoke.text)
    create("mine/all-train")
    again = load_recipe(kept, is_complete=True)
    assert (again.signature, again.recipe) == (smoke.signature, smoke.recipe)


def test_corpora_that_a_recipe_prepares_are_kept_and_reduced():
    for name in ("demo", "spoken_digits"):
        full, smoke = load_recipe(name).recipe, load_recipe(name, TINY)
        assert smoke.recipe.corpora.keys() == full.corpora.keys()
        assert smoke.notes == ()
        assert with_smoke_data(smoke.recipe).recipe == smoke.recipe
    clips = load_recipe("demo", TINY).recipe.corpora["synthetic"]["clips"]
    assert clips.keys() == load_recipe("demo").recipe.corpora["synthetic"]["clips"].keys()
    assert max(clips.values()) <= 12
    overridden = load_recipe("demo", [*TINY, "corpora.synthetic.clips.digits=40"]).recipe
    assert overridden.corpora["synthetic"]["clips"]["digits"] == 40, "the command line has precedence"


def test_an_existing_full_size_corpus_is_not_reduced(monkeypatch):
    recipe = load_recipe("demo", TINY).recipe
    assert not has_enough(recipe, "synthetic")
    for source in recipe.sources:
        create(source)
    assert has_enough(recipe, "synthetic")
    monkeypatch.setattr("audio_lm.pipeline.corpora.prepare", lambda *_: pytest.fail("it was made again"))
    lines = []
    prepare_corpora(recipe, lines.append)
    assert lines == ["corpus synthetic: data/synthetic is already prepared"]
    assert not has_enough(load_recipe("demo").recipe, "synthetic"), "without stand-ins the settings count"


def test_only_settings_of_the_recipe_are_reduced():
    assert shrink_corpus({"a": {"x": 9}}, {"a": {"x": 1, "y": 1}, "b": 2}) == {"a": {"x": 1}, "b": 2}
    assert shrink_corpus({}, {"a": {"x": 1}}) == {"a": {"x": 1}}


def test_a_stage_without_data_and_replacements_is_refused():
    recipe = load_recipe("qwen2_audio").recipe
    alone = replace(recipe, stand_ins=StandInsConfig(sources={"lid": "synthetic/phrases-train"}))
    with pytest.raises(RecipeError, match="none of its tasks has data or a replacement"):
        with_smoke_data(alone)


def test_chats_of_a_stage_of_pairs_are_replaced_by_pairs():
    stages = load_recipe("qwen2_audio", TINY).recipe.stages
    assert stages["sft"].mixture.sources == {"chat": ["synthetic/dialogues-train"]}
    assert stages["dpo"].mixture.sources == {"chat": ["synthetic/preferences-train"]}


def test_many_absent_benchmarks_are_one_line():
    notes = load_recipe("qwen_audio", ["use.scale=tiny"]).notes
    assert [note for note in notes if "benchmark" in note] == [
        "25 benchmarks are dropped, because their data is absent: librispeech_dev_clean, librispeech_dev_other, "
        "librispeech_test_clean, ..."
    ]
