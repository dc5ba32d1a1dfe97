from dataclasses import replace

import pytest

from audio_lm.config.load import load_recipe
from audio_lm.model.build import build_model
from audio_lm.model.memory_estimate import num_parameters, step_size

STEP = {
    "tokens": 16_384,
    "audio_seconds": 438.0,
    "learned_tokens": 3_000,
    "num_ids": 156_032,
    "num_ranks": 1,
    "is_half": True,
}


@pytest.mark.parametrize("name", ["demo", "tiny"])
def test_counted_weights_are_those_of_the_model(name):
    config = load_recipe("demo", [f"use.model={name}"]).recipe.model
    counts = num_parameters(config, num_base=300, num_new=40)
    model = build_model(config, num_base=300, num_new=40)
    for part, count in counts.items():
        assert count == sum(parameter.numel() for parameter in getattr(model, part).parameters()), part


def test_the_published_sizes_come_out():
    counts = num_parameters(load_recipe("qwen_audio").recipe.model, num_base=151_936, num_new=3_314)
    assert counts["encoder"] == pytest.approx(637e6, rel=0.01)
    assert counts["language_model"] == pytest.approx(7.7e9, rel=0.02)


def test_what_is_frozen_costs_no_optimizer_and_what_is_sharded_less():
    config = load_recipe("qwen_audio").recipe.model
    counts = num_parameters(config, num_base=151_936, num_new=3_314)
    heard = step_size(config, counts, {"encoder", "projector", "new_tokens"}, **STEP)
    talking = step_size(config, counts, {"new_tokens", "language_model"}, **STEP)
    assert 20e9 < heard.weights < 35e9
    assert 65e9 < heard.activations < 105e9
    assert talking.weights > 4 * heard.weights
    eight = step_size(config, counts, {"new_tokens", "language_model"}, **(STEP | {"num_ranks": 8}))
    assert eight.weights < 0.2 * talking.weights
    assert eight.total < 141e9


def test_twice_the_tokens_keep_twice_the_activations():
    config = replace(load_recipe("demo").recipe.model)
    counts = num_parameters(config, num_base=300, num_new=40)
    one, two = (
        step_size(config, counts, {"language_model"}, **(STEP | {"tokens": tokens}))
        for tokens in (1_000, 2_000)
    )
    assert two.activations == pytest.approx(2 * one.activations)
    assert two.weights == one.weights
