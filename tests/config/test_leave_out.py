from audio_lm.config.leave_out import overrides_without
from audio_lm.config.load import load_recipe


def test_a_recipe_without_a_corpus_subset_loads_and_has_it_nowhere():
    recipe = load_recipe("demo").recipe

    def is_absent(source):
        return "digits" in source or "spoken" in source

    overrides = overrides_without(recipe, is_absent)
    left = load_recipe("demo", overrides).recipe
    assert not any(map(is_absent, left.sources))
    assert list(left.stages) == list(recipe.stages)
    assert left.stages["chat"].mixture.sources["chat"] == [
        "synthetic/dialogues-train", "synthetic/several-train", "synthetic/dialogues_text-train",
    ]  # fmt: skip
    assert "synthetic/spoken-train" not in left.stages["chat"].mixture.source_weights
    assert "srwt-en" not in left.stages["pretrain"].mixture.weights
    assert "spoken_answer" not in left.guard.benchmarks
    assert overrides_without(left, is_absent) == []


def test_nothing_is_left_out_of_a_recipe_that_has_everything():
    assert overrides_without(load_recipe("demo").recipe, lambda source: False) == []
