from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from audio_lm.common.errors import RecipeError
from audio_lm.config.load import load_recipe
from audio_lm.config.schema import StandInsConfig
from audio_lm.config.smoke import has_enough, shrunk, with_smoke_data
from audio_lm.pipeline.corpora import prepare_corpora

TINY = ["use.scale=tiny"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """No data is here."""
    monkeypatch.chdir(tmp_path)


def bring(source):
    path = Path("data") / f"{source}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")


def own(sources, **more):
    """A recipe on data of one's own."""
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
def test_a_full_size_recipe_is_tried_on_what_can_be_made_here(name):
    full, tried = load_recipe(name).recipe, load_recipe(name, TINY).recipe
    assert list(tried.corpora) == ["synthetic"]
    assert list(tried.stages) == list(full.stages)
    for stage in tried.stages.values():
        assert all(source.startswith("synthetic/") for [source] in stage.mixture.sources.values())
    pretrain = tried.stages["pretrain"].mixture
    assert pretrain.weights["asr"] == full.stages["pretrain"].mixture.weights["asr"]


def test_at_least_24_tasks_of_the_paper_have_a_stand_in():
    tried = load_recipe("qwen_audio", TINY).recipe
    assert len(tried.stages["pretrain"].mixture.weights) >= 24


def test_data_that_is_here_is_used_as_it_is():
    for source in ("mine/all-train", "mine/all-test"):
        bring(source)
    tried = own({"asr": ["mine/all-train"]})
    assert tried.notes == ()
    assert not tried.recipe.corpora
    assert tried.recipe.stages["s"].mixture.sources == {"asr": ["mine/all-train"]}
    assert list(tried.recipe.evaluation.benchmarks) == ["b"]


def test_what_is_not_here_is_replaced_with_a_line_for_each():
    tried = own({"asr": ["mine/all-train"]})
    assert tried.notes == (
        "synthetic/digits-train stands in for mine/all-train",
        "benchmark b is left out: mine/all-test is not here",
    )
    assert tried.recipe.stages["s"].mixture.sources == {"asr": ["synthetic/digits-train"]}
    assert list(tried.recipe.corpora) == ["synthetic"]
    assert not tried.recipe.published


def test_of_a_mixture_only_what_is_away_is_replaced():
    bring("mine/all-train")
    sources = {
        "asr": ["mine/all-train", "theirs/a-train", "theirs/b-train"],
        "lid": ["theirs/c-train"],
        "sec": ["mine/all-train"],
    }
    weights = {
        "source_weights": {"mine/all-train": 1, "theirs/a-train": 2, "theirs/b-train": 1},
        "max_epochs": {"theirs/a-train": 1, "all": 3},
    }
    tried = own(
        sources, **weights, groups={"speech": ["asr", "lid"], "sound": ["sec"]}, schedule={"lid": [[0, 1]]}
    )
    mixture = tried.recipe.stages["s"].mixture
    assert mixture.sources == {
        "asr": ["mine/all-train", "synthetic/digits-train"],
        "lid": ["synthetic/phrases-train"],
        "sec": ["mine/all-train"],
    }
    assert mixture.groups == {"speech": ["asr", "lid"], "sound": ["sec"]}
    assert mixture.max_epochs == {"all": 3}
    stood_in = [note for note in tried.notes if "stands in" in note]
    assert stood_in == [
        "synthetic/digits-train stands in for theirs/a-train",
        "synthetic/digits-train stands in for theirs/b-train",
        "synthetic/phrases-train stands in for theirs/c-train",
    ]


def test_what_has_no_stand_in_is_left_out_with_a_line():
    bring("mine/all-train")
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
    tried = with_smoke_data(alone)
    assert tried.recipe.stages["s"].mixture.weights == {"asr": 1.0}
    assert "a/b of task lid is left out: it is not here, nothing stands in" in tried.notes


def test_a_run_that_is_read_again_keeps_what_it_was_tried_on(tmp_path):
    tried = own({"asr": ["mine/all-train"]})
    kept = tmp_path / "recipe.yaml"
    kept.write_text(tried.text)
    bring("mine/all-train")
    again = load_recipe(kept, is_complete=True)
    assert (again.signature, again.recipe) == (tried.signature, tried.recipe)


def test_a_recipe_with_corpora_of_its_own_keeps_them_and_makes_them_small():
    for name in ("demo", "spoken_digits"):
        full, tried = load_recipe(name).recipe, load_recipe(name, TINY)
        assert tried.recipe.corpora.keys() == full.corpora.keys()
        assert tried.notes == ()
        assert with_smoke_data(tried.recipe).recipe == tried.recipe
    clips = load_recipe("demo", TINY).recipe.corpora["synthetic"]["clips"]
    assert clips.keys() == load_recipe("demo").recipe.corpora["synthetic"]["clips"].keys()
    assert max(clips.values()) <= 12
    said = load_recipe("demo", [*TINY, "corpora.synthetic.clips.digits=40"]).recipe.corpora["synthetic"][
        "clips"
    ]["digits"]
    assert said == 40, "the command line has the last word"


def test_a_full_corpus_that_is_here_is_not_made_small(monkeypatch):
    recipe = load_recipe("demo", TINY).recipe
    assert not has_enough(recipe, "synthetic")
    for source in recipe.sources:
        bring(source)
    assert has_enough(recipe, "synthetic")
    monkeypatch.setattr("audio_lm.pipeline.corpora.prepare", lambda *_: pytest.fail("it was made again"))
    said = []
    prepare_corpora(recipe, said.append)
    assert said == ["corpus synthetic: data/synthetic is already prepared"]
    assert not has_enough(load_recipe("demo").recipe, "synthetic"), "in earnest the settings count"


def test_settings_are_shrunk_where_the_recipe_has_them():
    assert shrunk({"a": {"x": 9}}, {"a": {"x": 1, "y": 1}, "b": 2}) == {"a": {"x": 1}, "b": 2}
    assert shrunk({}, {"a": {"x": 1}}) == {"a": {"x": 1}}


def test_a_stage_without_any_stand_in_is_refused():
    recipe = load_recipe("qwen2_audio").recipe
    alone = replace(recipe, stand_ins=StandInsConfig(sources={"lid": "synthetic/phrases-train"}))
    with pytest.raises(RecipeError, match="none of its tasks has data here or a stand-in"):
        with_smoke_data(alone)
