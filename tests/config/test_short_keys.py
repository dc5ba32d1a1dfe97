from pathlib import Path

import pytest

from audio_lm.config.load import load_recipe
from audio_lm.config.short_keys import ShortKeys
from audio_lm.config.yaml_layers import flatten

RECIPES = Path(__file__).parents[2] / "recipes"

ONE_STAGE = (
    "seed", "corpora.synthetic.seed", "stages.train.steps", "stages.train.mixture.sources.sgc",
    "stages.train.mixture.weights.sgc", "stages.train.validation.weights.sgc", "stages.train.parts.encoder.lr",
    "stages.train.parts.projector.lr",
)  # fmt: skip


@pytest.mark.parametrize(
    ("key", "short"),
    [
        ("stages.train.mixture.weights.sgc", "sgc"),
        ("stages.train.validation.weights.sgc", "validation.sgc"),
        ("stages.train.mixture.sources.sgc", "sources.sgc"),
        ("stages.train.steps", "steps"),
        ("stages.train.parts.encoder.lr", "encoder.lr"),
        ("seed", "seed"),
        ("corpora.synthetic.seed", "synthetic.seed"),
    ],
)
def test_a_name_is_the_shortest_end_of_a_key_that_is_unambiguous(key, short):
    assert ShortKeys(ONE_STAGE)[key] == short


def test_a_setting_of_several_stages_is_named_with_its_stage():
    keys = [f"stages.{stage}.mixture.weights.sec" for stage in ("language", "pretrain")]
    assert [ShortKeys(keys)[key] for key in keys] == ["language.sec", "pretrain.sec"]


def test_keys_that_differ_in_an_implied_table_only_keep_their_whole_names():
    keys = ["stages.a.settings.x", "stages.a.parts.x"]
    assert [ShortKeys(keys)[key] for key in keys] == keys


@pytest.mark.parametrize("name", ["demo", "qwen2_audio", "own_speech"])
def test_no_two_settings_of_a_recipe_have_the_same_name(name):
    keys = [key for key, _ in flatten(load_recipe(RECIPES / f"{name}.yaml", ["use.scale=tiny"]).tree)]
    short = ShortKeys(keys)
    names = [short[key] for key in keys]
    assert len(set(names)) == len(keys)
    assert sum(map(len, names)) < sum(map(len, keys))
