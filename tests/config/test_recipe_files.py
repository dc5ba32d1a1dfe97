from pathlib import Path

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.config import load, resources
from audio_lm.config.load import load_recipe, recipe_names
from audio_lm.config.recipe_files import find_recipe, recipe_chain
from tests.config.test_load import GOOD, project  # noqa: F401

VARIANT = "use: {recipe: good}\nstages: {pretrain: {mixture: {weights: {asr: 3}}}}\n"


@pytest.fixture
def recipes(project):  # noqa: F811
    """Folder of recipes: ``good``, a variant of it in a subfolder, and a sweep."""
    folder = project / "recipes"
    for name, text in (("ablations/heavy", VARIANT), ("sweeps/none", "recipe: good\n")):
        (folder / name).parent.mkdir()
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_recipes_of_subfolders_are_listed_and_found_by_name_and_sweeps_are_not(recipes):
    assert recipe_names() == ["ablations/heavy", "good"]
    for spelling in ("ablations/heavy", "recipes/ablations/heavy", "recipes/ablations/heavy.yaml"):
        assert find_recipe(spelling, []).samefile(recipes / "ablations" / "heavy.yaml")
    assert find_recipe(recipes / "good.yaml", []) == recipes / "good.yaml"
    for unknown in ("heavy", "sweeps/none", "../recipes/good", "", "/good"):
        with pytest.raises(RecipeError, match="unknown recipe"):
            find_recipe(unknown, [])
    with pytest.raises(RecipeError, match="Did you mean 'ablations/heavy'"):
        find_recipe("ablations/heavi", [])


def test_recipes_are_found_under_the_name_of_their_folder_in_a_wheel(recipes, monkeypatch):
    wheel = recipes.rename(recipes.parent / "_recipes")
    monkeypatch.setattr(resources, "resource_folder", lambda kind: recipes.parent / f"_{kind}")
    assert find_recipe("recipes/good.yaml", []) == wheel / "good.yaml"


def test_a_variant_differs_from_its_counterpart_in_what_its_file_says(recipes):
    base, variant = load_recipe("good"), load_recipe("ablations/heavy")
    assert variant.recipe.name == "heavy"
    assert variant.recipe.stages["pretrain"].mixture.weights == {"asr": 3.0}, (
        "the counterpart names a mixture"
    )
    assert load.changed_settings(base, variant) == ["stages.pretrain.mixture.weights.asr"]
    assert variant.where["stages.pretrain.mixture.weights.asr"] == "ablations/heavy.yaml:2"
    assert variant.where["stages.pretrain.steps"] == "recipes/good.yaml:9"


def test_a_variant_may_use_other_pieces_and_those_of_its_counterpart_are_then_not_read(recipes):
    (recipes.parent / "conf/model/large.yaml").write_text("encoder: {num_layers: 3}")
    (recipes / "ablations/heavy.yaml").write_text("use: {recipe: good, model: large}\n")
    encoder = load_recipe("ablations/heavy").recipe.model.encoder
    assert (encoder.num_layers, encoder.width) == (3, 1280)
    assert load_recipe("ablations/heavy", ["use.model=small"]).recipe.model.encoder.width == 16


def test_the_recipe_of_a_run_does_not_read_its_counterpart_again(recipes):
    composed = load_recipe("ablations/heavy")
    (recipes.parent / "kept.yaml").write_text(composed.text)
    (recipes / "good.yaml").write_text(GOOD.replace("steps: 10", "steps: 20"))
    again = load_recipe(recipes.parent / "kept.yaml", is_complete=True)
    assert again.recipe == composed.recipe
    assert again.recipe.use["recipe"] == "good"


def test_a_variant_of_a_file_beside_it_and_of_a_variant(recipes, tmp_path):
    own = tmp_path / "mine"
    own.mkdir()
    (own / "first.yaml").write_text("name: named\nuse: {recipe: ablations/heavy}\nseed: 1\n")
    (own / "second.yaml").write_text("use: {recipe: first}\nseed: 2\n")
    recipe = load_recipe(own / "second.yaml").recipe
    assert (recipe.name, recipe.seed, recipe.stages["pretrain"].steps) == ("second", 2, 10)
    (own / "good.yaml").write_text("use: {recipe: good}\nseed: 3\n")
    assert load_recipe(own / "good.yaml").recipe.seed == 3, (
        "its counterpart is the shipped recipe of that name"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("godo", "circle.yaml:1: unknown recipe 'godo'. Did you mean 'good'"),
        ("../recipes/good", "circle.yaml:1: unknown recipe"),
        ("/etc/passwd", "circle.yaml:1: unknown recipe"),
        ("other", "use.recipe is 'circle', the 9th recipe of a chain"),
    ],
)
def test_an_unknown_counterpart_and_a_circle_are_refused_with_their_line(recipes, name, message):
    (recipes / "circle.yaml").write_text(f"use: {{recipe: {name}}}\n")
    (recipes / "other.yaml").write_text("use: {recipe: circle}\n")
    with pytest.raises(RecipeError, match=message):
        recipe_chain(Path(recipes / "circle.yaml"), [])


def test_the_command_line_cannot_name_another_counterpart(recipes):
    with pytest.raises(RecipeError, match=r"`use.recipe` is 'good' -- expected in the file of a recipe only"):
        load_recipe("ablations/heavy", ["use.recipe=good"])
